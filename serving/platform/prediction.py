"""Sending one request to a service or a revision of it."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from serving.platform.interface import PlatformError, Prediction


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
        started = time.perf_counter()
        try:
            answer = self._http.post(
                f"{base}/v1/models/{service}:predict", json=dict(body), headers=headers
            )
        except httpx.HTTPError as error:
            raise PlatformError(
                f"{service}: {base} ({parts.netloc}) cannot be reached: {error}"
            ) from error
        latency_ms = (time.perf_counter() - started) * 1000
        try:
            return Prediction(answer.status_code, answer.json(), revision, latency_ms)
        except json.JSONDecodeError:
            return Prediction(answer.status_code, answer.text, revision, latency_ms)
