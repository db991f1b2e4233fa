"""The local front door: splits the users' requests over the revisions and counts what happens."""

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving.platform.traffic import goes_to_canary
from serving.protocol.feedback import FEEDBACK_PATH, FeedbackCounters
from serving.protocol.headers import MODEL_HEADER, REVISION_HEADER, USER_HEADER
from serving.protocol.latency import LATENCY_BOUNDS_S

_MAX_BODY_BYTES = 16 * 2**20
_DRAIN_POLL_S = 0.05
_FORWARDED = ("Content-Type", "Accept", "X-Request-Id", "Inference-Header-Content-Length")


@dataclass(frozen=True)
class Upstream:
    """A revision the router can send to; `url` is None while its server is down."""

    name: str
    url: str | None
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Routes:
    """Who answers what.

    Attributes:
        upstreams: Every revision by name, so that each can be addressed.
        stable: Name of the revision that gets what the canary does not get.
        canary: Name of the revision on trial.
        canary_percent: The canary's share of the users.
    """

    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    stable: str | None = None
    canary: str | None = None
    canary_percent: int = 0


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    model: str = ""


class Router:
    """Forwards requests by the present routes.

    Counted are, by revision: requests of the split ("split"), requests that asked for the
    revision by header ("pinned", not the users'), and those another revision had failed to take
    ("fallback"). The failed one keeps its 503 in "split". What the shop reports of the answers is
    counted here as well, for every revision that runs.

    Attributes:
        routes: Replaced as a whole when the split changes.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.routes = Routes()
        self._session = session
        self._draw = random.Random()
        self._under_way: Tally[str] = Tally()
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "shopflow_router_requests",
            "Requests by the revision they were for and the status code they got",
            ("revision", "route", "code"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "shopflow_router_request_seconds",
            "Time from the whole request to the whole answer",
            ("revision", "route"),
            buckets=LATENCY_BOUNDS_S,
            registry=self._registry,
        )
        self._feedback = FeedbackCounters(
            model="", known=lambda name: name in self.routes.upstreams, registry=self._registry
        )

    def server(self) -> web.Server:
        """Return the HTTP server before it, to be made and run in one event loop."""
        loop = asyncio.get_running_loop()

        def request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: "asyncio.Task[None]"
        ) -> web.BaseRequest:
            limit = _MAX_BODY_BYTES  # aiohttp's own, 1 MiB, is less than the predictor takes
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=limit
            )

        return web.Server(self.handle, request_factory=request, access_log=None)

    async def drained(self, url: str) -> None:
        """Return when a server that left the routes has answered what it was asked before.

        Each request has its revision's time limit, so this ends.

        Args:
            url: The server's, as in its `Upstream`.
        """
        while self._under_way[url]:
            await asyncio.sleep(_DRAIN_POLL_S)
        del self._under_way[url]

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if request.path == "/metrics":
            return web.Response(body=generate_latest(self._registry), content_type="text/plain")
        if request.path == "/healthz":
            return self._health()
        if (request.content_length or 0) > _MAX_BODY_BYTES:
            return _refusal(413, f"the body is larger than {_MAX_BODY_BYTES} bytes")
        body = await request.read()
        if request.path == FEEDBACK_PATH:
            return self._take_feedback(request, body)
        routes = self.routes
        if (asked := request.headers.get(REVISION_HEADER)) is not None:
            if asked not in routes.upstreams:
                return _refusal(404, f"revision {asked!r} is not running here")
            return await self._forward(request, body, routes.upstreams[asked], "pinned")
        chosen = self._choose(request, body, routes)
        if chosen is None:
            return _refusal(503, "no revision takes traffic yet")
        return await self._forward(request, body, chosen, "split")

    def _choose(self, request: web.BaseRequest, body: bytes, routes: Routes) -> Upstream | None:
        name = routes.stable
        if routes.canary is not None and goes_to_canary(
            routes.canary_percent,
            salt=routes.canary,
            header_user=request.headers.get(USER_HEADER),
            body=body,
            draw=self._draw,
        ):
            name = routes.canary
        return routes.upstreams[name] if name is not None else None

    async def _forward(
        self, request: web.BaseRequest, body: bytes, upstream: Upstream, route: str
    ) -> web.Response:
        answer = await self._ask(request, body, upstream, route)
        stable = self.routes.upstreams.get(self.routes.stable or "")
        if answer is None and route == "split" and stable and stable != upstream:
            # A prediction changes nothing, so asking again is safe; the failure stays counted.
            upstream = stable
            answer = await self._ask(request, body, stable, "fallback")
        if answer is None:
            answer = _Answer(503, b'{"error":"the revision\'s server cannot be reached"}')
        headers = {"Content-Type": answer.content_type, REVISION_HEADER: upstream.name}
        if answer.model:
            headers[MODEL_HEADER] = answer.model
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _ask(
        self, request: web.BaseRequest, body: bytes, upstream: Upstream, route: str
    ) -> _Answer | None:
        started = time.perf_counter()
        answer = await self._exchange(request, body, upstream)
        code = answer.status if answer else 503
        self._requests.labels(upstream.name, route, str(code)).inc()
        self._seconds.labels(upstream.name, route).observe(time.perf_counter() - started)
        return answer

    async def _exchange(
        self, request: web.BaseRequest, body: bytes, upstream: Upstream
    ) -> _Answer | None:
        if upstream.url is None:
            return None
        # Nothing was awaited since the routes were read, so `drained` misses no request.
        self._under_way[upstream.url] += 1
        try:
            try:
                return await self._send(request, body, upstream.url, upstream.timeout_s)
            except aiohttp.ClientConnectorError:
                return None
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # A server closes its connection after some answers (uvicorn: after a 500), maybe
                # just as the next request is sent on it. That says nothing of the server, and a
                # prediction changes nothing, so it is asked once more.
                return await self._send(request, body, upstream.url, upstream.timeout_s)
        except TimeoutError:
            return _Answer(504, b'{"error":"the model took too long"}')
        except aiohttp.ClientError:
            return None
        finally:
            self._under_way[upstream.url] -= 1

    async def _send(
        self, request: web.BaseRequest, body: bytes, url: str, timeout_s: float
    ) -> _Answer:
        async with self._session.request(
            request.method,
            url + request.path_qs,
            data=body or None,
            headers={k: request.headers[k] for k in _FORWARDED if k in request.headers},
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as answer:
            content_type = answer.headers.get("Content-Type", "application/octet-stream")
            model = answer.headers.get(MODEL_HEADER, "")
            return _Answer(answer.status, await answer.read(), content_type, model)

    def _take_feedback(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.method != "POST":
            return _refusal(405, f"{request.method}: expected POST")
        status, wrong = self._feedback.take(body, request.headers.get("Content-Type", ""))
        return _refusal(status, wrong) if wrong else web.Response(status=status)

    def _health(self) -> web.Response:
        stable = self.routes.upstreams.get(self.routes.stable or "")
        if stable is not None and stable.url is not None:
            return web.json_response({"status": "ready", "stable": stable.name})
        return _refusal(503, "no stable revision is ready")


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
