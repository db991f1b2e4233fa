"""KServe's HTTP server with what it lacks: a chosen address, the gate, and 400s that say why."""

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import kserve
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from serving.protocol.feedback import (
    FEEDBACK_PATH,
    MAX_FEEDBACK_BYTES,
    FeedbackCounters,
    RevisionsOfService,
)
from serving.protocol.gate import RequestGate, RequestMetrics
from serving.protocol.request import BadRequest

EX_CONFIG = 78  # sysexits.h; tells the supervisor that starting again cannot help


class RestServer(kserve.ModelServer):  # type: ignore[misc]  # kserve ships no types
    """KServe's server on a chosen address; KServe itself always listens on all of them.

    Attributes:
        host: Address to listen on.
        around: Entered in the event loop before the first request, left after the last.
    """

    host = "0.0.0.0"
    around: AbstractAsyncContextManager[None] = nullcontext()

    async def _serve(self) -> None:
        self._rest_server.config.host = self.host
        async with self.around:
            await super()._serve()


def guard(
    app: FastAPI,
    *,
    metrics: RequestMetrics,
    model: str,
    revision: str,
    max_body_bytes: int,
    answer_headers: Mapping[str, str] | None = None,
) -> None:
    """Put the gate before KServe's application, let it take feedback, and say why it refuses.

    Args:
        app: KServe's application.
        metrics: See `RequestGate`, as all that follow.
        model: The model's name.
        revision: This server's revision.
        max_body_bytes: Largest body.
        answer_headers: Headers of every answer.
    """
    app.add_middleware(
        RequestGate,
        metrics=metrics,
        model=model,
        revision=revision,
        max_body_bytes=max_body_bytes,
        answer_headers=answer_headers,
    )
    _take_feedback(app, model=model, revision=revision)
    app.add_exception_handler(BadRequest, _bad_request)
    app.add_exception_handler(RequestValidationError, _invalid_v2)


def _take_feedback(app: FastAPI, *, model: str, revision: str) -> None:
    counters = FeedbackCounters(model=model, known=RevisionsOfService(model, own=revision))

    async def take(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FEEDBACK_BYTES:
                break
        status, wrong = counters.take(bytes(body), request.headers.get("content-type", ""))
        return JSONResponse({"error": wrong}, status) if wrong else Response(status_code=status)

    app.add_api_route(FEEDBACK_PATH, take, methods=["POST"], include_in_schema=False)


def quiet() -> None:
    """Leave out the two log lines per request."""
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


async def _bad_request(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _invalid_v2(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{where}: {first['msg']}"[:300]}, status_code=400)
