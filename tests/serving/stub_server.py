"""A server as light as a server can be, for tests of what is in front of it.

It speaks enough of the v1 protocol: every answer names the process and its environment's LABEL.
"""

import asyncio
import os
import sys

from aiohttp import web


async def ready(_: web.Request) -> web.Response:
    return web.json_response({"ready": True})


async def predict(request: web.Request) -> web.Response:
    body = await request.json()
    await asyncio.sleep(float(os.environ.get("DELAY_S", "0")))
    if body.get("exit"):
        os._exit(3)
    answer = {"label": os.environ.get("LABEL", ""), "pid": os.getpid(), "items": ["a"]}
    return web.json_response({"predictions": [answer] * len(body.get("instances", []))})


def main() -> None:
    if message := os.environ.get("REFUSE"):
        sys.exit(message)
    app = web.Application()
    app.router.add_get("/v2/health/ready", ready)
    app.router.add_post("/v1/models/{name}:predict", predict)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)


if __name__ == "__main__":
    main()
