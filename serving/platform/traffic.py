"""Which revision answers a request: a weighted split that is sticky by user."""

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import orjson


def bucket(user: str, *, salt: str) -> float:
    """Return the user's fixed place in [0, 1).

    A user is on the canary while the place is below its share, so raising the share moves users
    to the canary only. Another salt shuffles the users, so that not always the same ones are
    first to try a new model.

    Args:
        user: The user's id.
        salt: Name of the canary.
    """
    digest = hashlib.blake2b(f"{salt}\n{user}".encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") / 2**64


def goes_to_canary(
    percent: int, *, salt: str, header_user: str | None, body: bytes, draw: random.Random
) -> bool:
    """Say whether a request belongs to the canary.

    Args:
        percent: The canary's share of the users.
        salt: Name of the canary.
        header_user: `X-User-Id` of the request, which goes before the body.
        body: The request's body, v1 or v2 protocol.
        draw: Where requests of no known user get their place from.
    """
    if percent in (0, 100):
        return percent == 100
    user = header_user or user_of(body)
    place = bucket(user, salt=salt) if user else draw.random()
    return place * 100 < percent


def user_of(body: bytes) -> str | None:
    """Return the id of the (first) user a prediction is for; None when the body names nobody."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    user = _named_user(payload) if isinstance(payload, dict) else None
    return user if isinstance(user, str) and user else None


def _named_user(payload: Mapping[str, Any]) -> object:
    if (instances := payload.get("instances")) and isinstance(instances, list):
        return instances[0].get("user") if isinstance(instances[0], dict) else None
    if isinstance(inputs := payload.get("inputs"), list):
        for tensor in inputs:
            if isinstance(tensor, dict) and tensor.get("name") == "user":
                data = tensor.get("data")
                return data[0] if isinstance(data, list) and data else None
    return payload.get("user")
