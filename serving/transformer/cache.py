"""Remembered answers of the predictor, keyed by the model that gave them.

What is remembered is the predictor's raw answer, before the filters: an item that sells out a
second later is still filtered from it.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

_FORMAT = 1  # of keys and values; another one never meets entries of this one
_REST_S = 1.0


class CacheFailed(RuntimeError):
    """The cache cannot be reached, or refuses."""


@dataclass(frozen=True)
class Row:
    """The predictor's recommendations for one user, best first.

    Attributes:
        items: Item ids.
        scores: Their scores.
    """

    items: Sequence[str]
    scores: Sequence[float]


class Store(Protocol):
    """Bytes by key, forgotten after a time."""

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return what is remembered under each key.

        Raises:
            CacheFailed: If it cannot be asked.
        """
        ...

    async def put(self, entries: Mapping[str, bytes]) -> None:
        """Remember entries.

        Raises:
            CacheFailed: If it cannot be asked.
        """
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class MemoryStore:
    """Entries in this process: the least recently used go first when they are too large."""

    def __init__(
        self, *, size_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty.

        Args:
            size_bytes: Size of all keys and values.
            ttl_s: Time an entry is remembered.
            clock: Seconds.
        """
        from cachetools import TTLCache  # type: ignore[import-untyped]  # it ships no types

        self._entries = TTLCache(size_bytes, ttl_s, timer=clock, getsizeof=_size)

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See `Store.get`."""
        entries = [self._entries.get(key) for key in keys]
        return [entry[1] if entry else None for entry in entries]

    async def put(self, entries: Mapping[str, bytes]) -> None:
        """See `Store.put`; an entry larger than the whole cache is not remembered."""
        for key, value in entries.items():
            if _size((key, value)) <= self._entries.maxsize:
                self._entries[key] = (key, value)

    async def close(self) -> None:
        """See `Store.close`."""
        self._entries.clear()


class AnswerCache:
    """Rows of answers by model and question; a store that is away is a miss."""

    def __init__(
        self,
        store: Store,
        *,
        model_name: str,
        filters_version: str,
        count: Callable[[str, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put keys and counters before a store.

        Args:
            store: Where the entries are.
            model_name: The model's name in the protocol.
            filters_version: See `Settings.filters_version`.
            count: Called with "hit", "miss" or "error", and how many.
            clock: Seconds.
        """
        self._store, self._count, self._clock = store, count, clock
        self._prefix = f"shopflow:answer:{model_name}:"
        self._version = filters_version
        self._resting_until = -1.0

    def key(self, model: str, question: Sequence[Any]) -> str:
        """Return the key of one row.

        Args:
            model: Identity of the model that answers, from the predictor.
            question: What decides the answer: user, history, number of candidates.
        """
        text = orjson.dumps([_FORMAT, self._version, model, *question])
        # A digest, because a key with the history in it would be personal data in the clear.
        return self._prefix + hashlib.sha256(text).hexdigest()

    async def get(self, keys: Sequence[str]) -> list[Row | None]:
        """Return the row remembered under each key."""
        values: Sequence[bytes | None] = [None] * len(keys)
        if self._clock() >= self._resting_until:
            try:
                values = await self._store.get(keys)
            except CacheFailed:
                self._failed()
        rows = [None if value is None else self._read(value) for value in values]
        hits = sum(row is not None for row in rows)
        self._count("hit", hits)
        self._count("miss", len(rows) - hits)
        return rows

    async def put(self, rows: Mapping[str, Row]) -> None:
        """Remember rows by key."""
        if not rows or self._clock() < self._resting_until:
            return
        entries = {key: orjson.dumps([row.items, row.scores]) for key, row in rows.items()}
        try:
            await self._store.put(entries)
        except CacheFailed:
            self._failed()

    async def close(self) -> None:
        """Give back what the store holds."""
        await self._store.close()

    def _read(self, value: bytes) -> Row | None:
        try:
            items, scores = orjson.loads(value)
            return read_row({"items": items, "scores": scores})
        except (ValueError, TypeError):
            self._count("error", 1)
            return None

    def _failed(self) -> None:
        # Not asked again for a moment: else each request would wait for its time-out.
        self._count("error", 1)
        self._resting_until = self._clock() + _REST_S


def read_row(row: object) -> Row:
    """Return a row of an answer, without the padding some servers put at its end.

    Raises:
        ValueError: If it is no row of recommendations; the message says what was found.
    """
    if not isinstance(row, dict) or not {"items", "scores"} <= row.keys():
        raise ValueError(f"found {type(row).__name__}, expected an object with items and scores")
    items, scores = row["items"], row["scores"]
    if not isinstance(items, list) or not isinstance(scores, list) or len(items) != len(scores):
        raise ValueError("found items and scores that differ, expected two lists of one length")
    if not all(isinstance(item, str) for item in items):
        raise ValueError("found an item that is no text, expected ids")
    # JSON has no NaN, which a model that has gone wrong answers; what arrives is a null.
    if not all(isinstance(score, int | float) for score in scores):
        raise ValueError("found a score that is no number, expected numbers")
    if "" in items:
        pairs = [pair for pair in zip(items, scores, strict=True) if pair[0]]
        return Row([item for item, _ in pairs], [score for _, score in pairs])
    return Row(items, scores)


def _size(entry: tuple[str, bytes]) -> int:
    return len(entry[0]) + len(entry[1])
