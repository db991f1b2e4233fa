"""Batches for the training loop: made by a thread beside it, shard after shard."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from components.train.interactions import Interactions
from components.train.retrieval import Batch, Stepped
from components.train.shares import WHOLE, Share

_T = TypeVar("_T")
_READY = 4


def epoch_batches(
    model: Stepped,
    shards: Sequence[Interactions],
    *,
    seed: int,
    epoch: int,
    shares: Sequence[Share] = WHOLE,
) -> Iterator[tuple[Batch, ...]]:
    """Yield an epoch's batches, each as the parts of the devices of this worker.

    The shards come in a random order, and each is shuffled as a whole: users are in a shard by
    their hash, so a batch is drawn from a random sample of the users, of a million events and more.
    """
    for shard in np.random.default_rng([seed, epoch]).permutation(len(shards)):
        yield from model.epoch_batches(shards[shard], seed=seed, epoch=epoch, shares=shares)


def prefetch(items: Iterable[_T]) -> Iterator[_T]:
    """Yield the items, the next few of which a thread makes meanwhile.

    `tf.data` would do this, but switches its prefetching off where operations must be deterministic
    and the data comes from Python.
    """
    ready: queue.Queue[tuple[bool, _T | BaseException | None]] = queue.Queue(_READY)
    stop = threading.Event()

    def put(more: bool, item: _T | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ready.put((more, item), timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(True, item)
                if stop.is_set():
                    return
            put(False, None)
        except BaseException as error:  # noqa: BLE001  # raised again in the loop's thread
            put(False, error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if more:
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        stop.set()
        thread.join()
