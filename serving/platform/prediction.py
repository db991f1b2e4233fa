"""Sending one request to a service or a revision of it."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from serving.platform.interface import PlatformError, Prediction


def send_request(
    http: httpx.Client,
    base: str,
    service: str,
    body: Mapping[str, Any],
    *,
    headers: Mapping[str, str],
    where: str,
) -> tuple[httpx.Response, float]:
    """Post one v1 request; return the answer and its latency in ms.

    Args:
        http: The client.
        base: Base URL, without a slash at the end.
        service: Name of the service, which is the model's.
        body: The request.
        headers: Additional headers.
        where: What is asked, for the error.

    Raises:
        PlatformError: If nobody answers.
    """
    started = time.perf_counter()
    try:
        answer = http.post(
            f"{base}/v1/models/{service}:predict", json=dict(body), headers=dict(headers)
        )
    except httpx.HTTPError as error:
        raise PlatformError(f"{service}: {where} cannot be reached: {error}") from error
    return answer, (time.perf_counter() - started) * 1000


def read_prediction(answer: httpx.Response, *, revision: str, latency_ms: float) -> Prediction:
    """Return an answer with its JSON, or with its text when it is none."""
    try:
        return Prediction(answer.status_code, answer.json(), revision, latency_ms)
    except json.JSONDecodeError:
        return Prediction(answer.status_code, answer.text, revision, latency_ms)


class Sender:
    """How requests get into the cluster: by their address, or through a gateway."""

    def __init__(self, gateway: str = "", *, timeout_s: float = 60.0) -> None:
        """Send from inside the cluster, or through a gateway.

        Args:
            gateway: Base URL that every request goes to, with the address in the Host header;
                empty when the addresses can be reached from here.
            timeout_s: How long one request may take.
        """
        self._gateway = gateway.rstrip("/")
        self._http = httpx.Client(timeout=timeout_s)

    def send(self, url: str, service: str, body: Mapping[str, Any], *, revision: str) -> Prediction:
        """Send one v1 request.

        Args:
            url: Base URL of the service or the revision.
            service: Name of the service, which is the model's.
            body: The request.
            revision: The revision the URL belongs to; empty when the split decides.

        Raises:
            PlatformError: If nobody answers.
        """
        parts = urlsplit(url)
        base, headers = url.rstrip("/"), {}
        if self._gateway:
            base = self._gateway + parts.path.rstrip("/")
            headers["Host"] = parts.netloc
        answer, latency_ms = send_request(
            self._http, base, service, body, headers=headers, where=f"{base} ({parts.netloc})"
        )
        return read_prediction(answer, revision=revision, latency_ms=latency_ms)
