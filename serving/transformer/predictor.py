"""The predictor as the transformer sees it: one question, one answer, and which model answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import orjson

from serving.protocol.headers import MODEL_HEADER, REVISION_HEADER, USER_HEADER
from serving.protocol.request import BadRequest

# What a split before the predictor chooses by, what traces are made of, and who asks.
_TRACES = ("Traceparent", "Tracestate", "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled")
_FORWARDED = (USER_HEADER, REVISION_HEADER, "X-Request-Id", "Authorization", *_TRACES)


class PredictorFailed(RuntimeError):
    """The predictor gave no answer to pass on as a success."""

    def __init__(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Keep what the client is to be told.

        Args:
            status: Status code.
            body: Body.
            content_type: Its content type.
        """
        super().__init__(f"{status} {body[:200]!r}")
        self.status, self.body, self.content_type = status, body, content_type


@dataclass(frozen=True)
class Answer:
    """A 200 of the predictor.

    Attributes:
        content: Its decoded JSON.
        headers: Names of the revision and the model that answered, where it says them.
    """

    content: object
    headers: Mapping[str, str]

    @property
    def model(self) -> str | None:
        """Identity of the model that answered, None when the predictor does not say it."""
        return self.headers.get(MODEL_HEADER)


class Predictor:
    """A client of one predictor, or of the split before several of its revisions."""

    def __init__(self, url: str, *, model: str, timeout_s: float) -> None:
        """Point at it; the first request connects.

        Args:
            url: Base URL.
            model: The model's name in the protocol.
            timeout_s: Time for one exchange, connecting included.
        """
        self._url, self._model, self._timeout_s = url, model, timeout_s
        self._open: aiohttp.ClientSession | None = None

    async def ask(self, path: str, payload: object, headers: Mapping[str, str]) -> Answer:
        """Send one inference request.

        Args:
            path: Path of the URL.
            payload: The body, to be sent as JSON.
            headers: Those of the client's request; what concerns the predictor is sent on.

        Raises:
            BadRequest: If the payload is no Unicode, or holds a number of more than 64 bits.
            PredictorFailed: With its own status code; 503 if it cannot be reached, 504 if it is
                too slow, 502 if its answer is no JSON.
        """
        try:
            body = orjson.dumps(payload)
        except TypeError as error:
            raise BadRequest(f"body: found what JSON cannot say: {error}") from error
        return await self._exchange("POST", path, body, headers)

    async def model(self, headers: Mapping[str, str]) -> Answer:
        """Ask which model would answer such a request now.

        The question takes the same way as the request would, through the split between stable and
        canary, so each revision is named as often as it answers.

        Raises:
            PredictorFailed: As `ask`.
        """
        return await self._exchange("GET", f"/v1/models/{self._model}", None, headers)

    async def close(self) -> None:
        """Close the connections."""
        if self._open is not None:
            await self._open.close()

    async def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        sent = {name: headers[name.lower()] for name in _FORWARDED if name.lower() in headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            try:
                return await self._send(method, path, body, sent)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                # The predictor may close an idle connection just as it is used again. A
                # prediction changes nothing, so it is asked once more.
                return await self._send(method, path, body, sent)
        except TimeoutError as error:
            reason = f"the predictor took longer than {self._timeout_s:g} s"
            raise _failed(504, reason) from error
        except aiohttp.ClientError as error:
            raise _failed(503, "the predictor cannot be reached") from error

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        async with self._session().request(
            method, self._url + path, data=body, headers=headers, allow_redirects=False
        ) as answer:
            content = await answer.read()
            if answer.status != 200:
                kind = answer.headers.get("Content-Type", "application/octet-stream")
                # A redirect is no answer of a predictor, and its target is none of the client's.
                status = answer.status if answer.status >= 400 else 502
                raise PredictorFailed(status, content, kind)
            named = (REVISION_HEADER, MODEL_HEADER)
            names = {name: answer.headers[name] for name in named if name in answer.headers}
        try:
            return Answer(orjson.loads(content), names)
        except orjson.JSONDecodeError as error:
            raise _failed(502, "the predictor's answer is no JSON") from error

    def _session(self) -> aiohttp.ClientSession:
        # Made at the first request, because it belongs to the running event loop.
        if self._open is None:
            self._open = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._open


def _failed(status: int, reason: str) -> PredictorFailed:
    return PredictorFailed(status, orjson.dumps({"error": reason}))


def malformed(reason: str) -> PredictorFailed:
    """Return the 502 for an answer that is not what a predictor says."""
    return _failed(502, f"the predictor's answer: {reason}")
