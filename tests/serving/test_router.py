"""The local front door alone: how large a request it passes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from serving.platform.router import Router, Routes, Upstream


@asynccontextmanager
async def listening(server: web.Server) -> AsyncIterator[str]:
    """Run a server on loopback; yield its URL."""
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def size_of(request: web.BaseRequest) -> web.Response:
    """Answer with the number of bytes that came."""
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.Response(text=str(size))


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    """Yield a body whose length is not said beforehand."""
    for _ in range(size // 2**20):
        yield bytes(2**20)


def test_what_the_predictor_takes_is_passed_on_and_sixteen_mib_are_the_most():
    async def statuses() -> list[tuple[int, str]]:
        async with (
            aiohttp.ClientSession() as session,
            listening(web.Server(size_of)) as model,
        ):
            router = Router(session)
            router.routes = Routes({"a": Upstream("a", model)}, stable="a")
            answers = []
            async with listening(router.server()) as url:
                for body in (bytes(4 * 2**20), in_pieces(16 * 2**20), in_pieces(17 * 2**20)):
                    async with session.post(f"{url}/v1/models/shop:predict", data=body) as answer:
                        text = await answer.text()
                        answers.append((answer.status, text if answer.status == 200 else ""))
            return answers

    assert asyncio.run(statuses()) == [
        (200, str(4 * 2**20)),
        (200, str(16 * 2**20)),
        (413, ""),
    ]
