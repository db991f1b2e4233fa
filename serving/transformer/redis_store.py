"""Redis as the cache, and as the place of histories and item features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from serving.transformer.cache import CacheFailed
from serving.transformer.features import Columns, ItemFeatures, LookupFailed

HISTORY_KEY, ITEM_KEY = "shopflow:history:", "shopflow:item:"


def connect(url: str, *, timeout_s: float) -> Redis:
    """Return a client; it connects at its first command.

    Args:
        url: redis:// or rediss://.
        timeout_s: Time for connecting, and for an answer.
    """
    # One more try at once, for a connection that Redis closed while it was idle; no waiting.
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),
    )
    return client


class RedisStore:
    """Entries in Redis, shared by the transformer's replicas."""

    def __init__(self, client: Redis, *, ttl_s: float) -> None:
        """Use a client.

        Args:
            client: See `connect`.
            ttl_s: Time an entry is remembered.
        """
        self._client, self._ttl_ms = client, max(1, round(ttl_s * 1000))

    async def get(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See `Store.get`."""
        try:
            values: Sequence[Any] = await self._client.mget(keys)
        except (RedisError, OSError) as error:
            raise CacheFailed(str(error)) from error
        return values

    async def put(self, entries: Mapping[str, bytes]) -> None:
        """See `Store.put`."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for key, value in entries.items():
                    pipeline.set(key, value, px=self._ttl_ms)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            raise CacheFailed(str(error)) from error

    async def close(self) -> None:
        """See `Store.close`."""
        await self._client.aclose()


class RedisHistories:
    """Histories as one list per user, `shopflow:history:<user>`, the most recent item last."""

    def __init__(self, client: Redis) -> None:
        """Use a client; see `connect`."""
        self._client = client

    async def of(self, users: Sequence[str]) -> Sequence[Sequence[str]]:
        """See `Histories.of`."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for user in users:
                    pipeline.lrange(HISTORY_KEY + user, 0, -1)
                lists: list[list[bytes]] = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise LookupFailed(f"history: Redis cannot be asked: {error}") from error
        return [[item.decode(errors="replace") for item in items] for items in lists]


class RedisItems:
    """Item features as one hash per item, `shopflow:item:<item>`.

    Its fields have the columns' names: the category as text, the stock as a number, the vector as
    a JSON list. A field that cannot be read counts as not there.
    """

    def __init__(self, client: Redis, columns: Columns) -> None:
        """Use a client.

        Args:
            client: See `connect`.
            columns: Names of the fields, "" for one that is not there.
        """
        self._client, self._columns = client, columns

    async def of(self, items: Sequence[str]) -> ItemFeatures:
        """See `Items.of`."""
        columns = self._columns
        fields = [name for name in (columns.category, columns.stock, columns.vector) if name]
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for item in items:
                    pipeline.hmget(ITEM_KEY + item, fields)
                found: list[list[bytes | None]] = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise LookupFailed(f"items: Redis cannot be asked: {error}") from error
        rows = [dict(zip(fields, values, strict=True)) for values in found]
        categories = [_text(row.get(columns.category)) for row in rows]
        in_stock = np.array([_in_stock(row.get(columns.stock)) for row in rows], dtype=np.bool_)
        vectors = _stacked([row.get(columns.vector) for row in rows]) if columns.vector else None
        return ItemFeatures(categories, in_stock, vectors)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _in_stock(value: bytes | None) -> bool:
    try:
        return value is None or float(value) > 0
    except ValueError:
        return True


def _stacked(values: Sequence[bytes | None]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    vectors = [_vector(value) for value in values]
    width = max((len(vector) for vector in vectors), default=0) or 1
    stacked = np.zeros((len(vectors), width), dtype=np.float32)
    for row, vector in enumerate(vectors):
        if len(vector) == width:
            stacked[row] = vector
    return stacked


def _vector(value: bytes | None) -> Sequence[float]:
    try:
        vector = np.asarray(orjson.loads(value or b"[]"), dtype=np.float32)
    except (ValueError, TypeError):
        return []
    sound = vector.ndim == 1 and bool(np.isfinite(vector).all())
    listed: list[float] = vector.tolist() if sound else []
    return listed
