"""What KServe's own metrics lack: requests by status code, and a latency histogram by revision."""

import time
from collections.abc import Mapping
from typing import Any

import orjson
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.protocol.latency import LATENCY_BOUNDS_S
from serving.protocol.request import BadRequest

_LABELS = ("model_name", "revision")


class RequestMetrics:
    """The counters of one server.

    Attributes:
        requests: Inference requests by status code.
        seconds: Latency of inference requests; a quantile read from it is within 15 %.
    """

    def __init__(self, prefix: str) -> None:
        """Register the counters.

        Args:
            prefix: Start of the metrics' names.
        """
        self.requests = Counter(
            f"{prefix}_requests", "Inference requests by status code", (*_LABELS, "code")
        )
        self.seconds = Histogram(
            f"{prefix}_request_seconds",
            "Time from the request's head to the end of the answer",
            _LABELS,
            buckets=LATENCY_BOUNDS_S,
        )


class RequestGate:
    """ASGI layer that counts inference requests and refuses what the server does not offer.

    Refused are bodies over the limit, binary tensors, binary CloudEvents and the model
    repository's verbs, with which any user could unload the model.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: RequestMetrics,
        model: str,
        revision: str,
        max_body_bytes: int,
        answer_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Stand before an application.

        Args:
            app: What answers.
            metrics: Where requests are counted.
            model: Label of the counters: the model's name.
            revision: Label of the counters: this server's revision.
            max_body_bytes: Largest body that is passed on.
            answer_headers: Headers every answer of the application gets.
        """
        self._app, self._model, self._revision = app, model, revision
        self._metrics, self._max_body_bytes = metrics, max_body_bytes
        self._answer_headers = [
            (name.lower().encode(), value.encode("latin-1", "replace"))
            for name, value in (answer_headers or {}).items()
            if value
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not scope["path"].endswith((":predict", ":explain", "/infer")):
            await self._pass_other(scope, receive, self._labelled(send))
            return
        started, codes = time.perf_counter(), [500]

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                codes.append(message["status"])
            await send(message)

        try:
            await self._pass_inference(scope, receive, self._labelled(counted_send))
        finally:
            seconds = time.perf_counter() - started
            self._metrics.requests.labels(self._model, self._revision, str(codes[-1])).inc()
            self._metrics.seconds.labels(self._model, self._revision).observe(seconds)

    def _labelled(self, send: Send) -> Send:
        if not self._answer_headers:
            return send

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._answer_headers]
            await send(message)

        return labelled

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
