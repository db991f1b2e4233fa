"""Requests as the shop's front end sends them, made of held-out events."""

from pathlib import Path
from typing import Any

import polars as pl

from components.errors import InputError
from components.splits import scan_split

_HISTORY = 50
_K = 10


def sample_requests(events_dir: Path, *, count: int, seed: int) -> list[dict[str, Any]]:
    """Return `recommend` requests of users who bought something in the test window.

    Args:
        events_dir: Events with train, eval and test.
        count: Number of requests, at most the number of users.
        seed: Of the choice of users.

    Returns:
        v1 request bodies of one instance each; the last is of a user nobody knows.

    Raises:
        InputError: If a split is not there, or the test split has no events.
    """
    past = scan_split(events_dir, "train", "eval")
    users = scan_split(events_dir, "test", columns=("user",)).unique().sort("user").collect()
    if users.is_empty():
        raise InputError(str(events_dir / "test"), "no events", "users to sample requests of")
    chosen = users.sample(min(count - 1, users.height), seed=seed)
    history = (
        past.join(chosen.lazy(), on="user")
        .sort("time", maintain_order=True)
        .group_by("user")
        .agg(pl.col("item").tail(_HISTORY))
    ).collect()
    known = dict(history.iter_rows())
    instances = [
        {"user": user, "history": known.get(user, []), "k": _K} for user in chosen["user"].sort()
    ]
    instances.append({"user": "", "history": [], "k": _K})
    return [{"signature_name": "recommend", "instances": [instance]} for instance in instances]
