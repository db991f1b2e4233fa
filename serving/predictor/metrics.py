"""What KServe's own metrics lack: requests by status code, and a latency histogram by revision."""

import time
from typing import Any

import orjson
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.predictor.request import BadRequest

_LABELS = ("model_name", "revision")
_REQUESTS = Counter(
    "shopflow_predictor_requests", "Inference requests by status code", (*_LABELS, "code")
)
_SECONDS = Histogram(
    "shopflow_predictor_request_seconds",
    "Time from the request's head to the end of the answer",
    _LABELS,
    buckets=[round(0.0005 * 1.15**power, 7) for power in range(84)],
)


class RequestGate:
    """ASGI layer that counts inference requests and refuses what the server does not offer.

    Refused are bodies over the limit, binary tensors, binary CloudEvents and the model
    repository's verbs, with which any user could unload the model.
    """

    def __init__(self, app: ASGIApp, *, model: str, revision: str, max_body_bytes: int) -> None:
        self._app, self._model, self._revision = app, model, revision
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not scope["path"].endswith((":predict", ":explain", "/infer")):
            await self._pass_other(scope, receive, send)
            return
        started, codes = time.perf_counter(), [500]

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                codes.append(message["status"])
            await send(message)

        try:
            await self._pass_inference(scope, receive, counted_send)
        finally:
            _REQUESTS.labels(self._model, self._revision, str(codes[-1])).inc()
            _SECONDS.labels(self._model, self._revision).observe(time.perf_counter() - started)

    async def _pass_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v2/repository"):
            await _refuse(send, 404, "the model repository is not open")
        else:
            await self._app(scope, receive, send)

    async def _pass_inference(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if b"inference-header-content-length" in headers:
            await _refuse(send, 400, "binary tensors are not offered, send JSON")
        elif b"ce-specversion" in headers:
            await _refuse(send, 400, "binary CloudEvents are not offered, send JSON")
        elif int(headers.get(b"content-length", b"0")) > self._max_body_bytes:
            await _refuse(send, 413, f"the body is over {self._max_body_bytes} bytes")
        else:
            await self._app(scope, self._limited(receive), send)

    def _limited(self, receive: Receive) -> Receive:
        left = self._max_body_bytes

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise BadRequest(f"the body is over {self._max_body_bytes} bytes")
            return message

        return limited


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = orjson.dumps({"error": reason})
    headers: Any = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
