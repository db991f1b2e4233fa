"""Prometheus over HTTP: the samples of counters, or a one-line reason why there are none."""

import ipaddress
import math
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from serving.platform.counter_growth import Series
from serving.platform.interface import PlatformError

# How far back the first look goes, so that a scrape that failed then is not a new pod later.
LOOKBACK_S = 3600.0
# A sample carries the time its scrape began and can be read only when the scrape has ended.
OVERLAP_S = 120.0


@dataclass(frozen=True)
class PrometheusSettings:
    """Where Prometheus is and how to ask it; checked when made.

    Attributes:
        url: Base URL; anything with Prometheus' query API will do (Thanos, Mimir).
        token_file: File with a bearer token, read at every query because the kubelet renews it.
        token_env: Environment variable with a bearer token, in place of a file.
        ca_file: Certificates to trust in place of the public ones.
        timeout_s: How long one query may take.
    """

    url: str
    token_file: Path | None = None
    token_env: str = ""
    ca_file: Path | None = None
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse settings that could not work, or would show a secret.

        Raises:
            PlatformError: Names the setting.
        """
        try:
            parts = urlsplit(self.url)
            if parts.username or parts.password:
                raise PlatformError("Prometheus: found a password in the URL, expected a token")
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise PlatformError(f"Prometheus: found {self.url!r}, expected an http(s) base URL")
        if self.token_file and self.token_env:
            raise PlatformError("Prometheus: found a token by file and by name, expected one")
        has_token = self.token_file or self.token_env
        if has_token and parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            raise PlatformError(f"Prometheus: found a token for {self.url}, expected https for it")
        if not 0 < self.timeout_s < math.inf:
            raise PlatformError(f"Prometheus: found timeout_s={self.timeout_s}, expected over 0")

    def headers(self) -> dict[str, str]:
        """Return the request headers with the token of this moment.

        Raises:
            PlatformError: If the token is not where it should be; the token itself is never told.
        """
        if self.token_file:
            where = str(self.token_file)
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise PlatformError(f"Prometheus: no token in {where}: {error}") from error
        elif self.token_env:
            where, token = self.token_env, os.environ.get(self.token_env, "").strip()
        else:
            return {}
        if not token or not token.isascii() or not token.isprintable():
            raise PlatformError(f"Prometheus: found no bearer token in {where}")
        return {"Authorization": f"Bearer {token}"}


class PrometheusApi:
    """The two queries this project needs: counters' samples, and their latest ones."""

    def __init__(self, settings: PrometheusSettings) -> None:
        """Prepare to ask; nothing is sent yet.

        Raises:
            PlatformError: If the certificates to trust cannot be read.
        """
        self._settings = settings
        verify: ssl.SSLContext | bool = True
        if settings.ca_file:
            try:
                verify = ssl.create_default_context(cafile=str(settings.ca_file))
            except OSError as error:
                raise PlatformError(
                    f"Prometheus: no certificates in {settings.ca_file}: {error}"
                ) from error
        # No proxy and no .netrc from the environment: the settings are the whole truth.
        self._http = httpx.Client(verify=verify, timeout=settings.timeout_s, trust_env=False)

    def samples(self, selector: str, *, window_s: float) -> list[Series]:
        """Return the series of a selector with their samples; none when nothing matches.

        Args:
            selector: PromQL of an instant vector.
            window_s: How far to look back from now.

        Raises:
            PlatformError: If there is no answer, or one that cannot be relied on.
        """
        return self._query(f"{selector}[{_whole(window_s)}s]", "values")

    def latest(self, selector: str, *, window_s: float) -> list[Series]:
        """Return the series with one sample each: the last value, at the time of the query.

        Args:
            selector: PromQL of an instant vector.
            window_s: How far to look back from now.

        Raises:
            PlatformError: If there is no answer, or one that cannot be relied on.
        """
        return self._query(f"last_over_time({selector}[{_whole(window_s)}s])", "value")

    def _query(self, query: str, kind: Literal["values", "value"]) -> list[Series]:
        url = self._settings.url.rstrip("/")
        try:
            answer = self._http.post(
                f"{url}/api/v1/query",
                data={"query": query, "timeout": f"{self._settings.timeout_s:g}s"},
                headers=self._settings.headers(),
            )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise PlatformError(f"Prometheus {url}: no answer: {reason}") from error
        try:
            return [_series(one, kind) for one in _content(answer, url)["data"]["result"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlatformError(
                f"Prometheus {url}: found {error!r} in the answer, expected counters"
            ) from error


def _series(one: Any, kind: Literal["values", "value"]) -> Series:
    samples = one["values"] if kind == "values" else [one["value"]]
    return Series(
        {label: value for label, value in one["metric"].items() if label != "__name__"},
        [(float(moment_s), _count(text, one)) for moment_s, text in samples],
    )


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def _content(answer: httpx.Response, url: str) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {"error": answer.text[:200] or "nothing"}
    if answer.status_code != 200 or content.get("status") != "success":
        told = f"{content.get('errorType', '')} {content.get('error', content.get('status'))}"
        raise PlatformError(f"Prometheus {url}: HTTP {answer.status_code}: {told}")
    if warnings := content.get("warnings"):
        # Thanos and remote storage say so when a part of the data is missing.
        raise PlatformError(f"Prometheus {url}: incomplete: {warnings}")
    return content


def _count(text: str, series: dict[str, Any]) -> int:
    value = float(text)
    if not math.isfinite(value) or value < 0 or value != math.floor(value):
        raise PlatformError(f"{series['metric']}: found {text}, expected a count")
    return int(value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
