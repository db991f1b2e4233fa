"""Sending a notice to a webhook whose address nobody may see."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

WAITS_S = (1.0, 4.0, 15.0)
_AGAIN = frozenset({408, 425, 429})


class Undelivered(RuntimeError):
    """A notice reached nobody; the message is one line, without the address."""


def send(
    url: str,
    body: Mapping[str, Any],
    *,
    timeout_s: float = 10.0,
    waits_s: Sequence[float] = WAITS_S,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """POST a notice as JSON; again when the receiver is away or in trouble, and no more often.

    Redirects are not followed: where they lead is not whom the address was given for.

    Args:
        url: http:// or https://; itself a secret, for who knows it may post.
        body: The notice.
        timeout_s: How long to wait for a connection, and for an answer.
        waits_s: How long to wait before each further attempt.
        sleep: How to wait.

    Returns:
        How many attempts it took.

    Raises:
        Undelivered: If no attempt was answered with 2xx, or the address is none.
    """
    try:
        address = httpx.URL(url)
        usable = address.scheme in ("http", "https") and bool(address.host)
    except (httpx.InvalidURL, UnicodeError):  # the host is read when it is asked for
        usable = False
    if not usable:
        raise Undelivered("webhook: found an address that is none, expected http(s)://host/…")
    found = ""
    for number, wait_s in enumerate((*waits_s, None), start=1):
        try:
            status = httpx.post(url, json=dict(body), timeout=timeout_s).status_code
            if 200 <= status < 300:
                return number
            found, again = f"HTTP {status}", status >= 500 or status in _AGAIN
        except httpx.HTTPError as error:
            # Only the kind of error: httpx's messages may hold the address.
            found, again = f"no answer ({type(error).__name__})", True
        except ValueError as error:  # a proxy of the environment that is no URL
            found, again = f"no way to ask ({type(error).__name__})", False
        if wait_s is None or not again:
            break
        sleep(wait_s)
    raise Undelivered(f"webhook: found {found} after {number} attempts, expected HTTP 2xx")
