"""What it costs to serve a model: bytes on disk, memory, and how long an answer takes."""

import dataclasses
import gc
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

BATCHES = (1, 32)
_ROUNDS = 60
_WARM_UP = 5


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one model costs.

    Attributes:
        disk_bytes: Size of its files.
        memory_bytes: By how much loading it and answering with it makes a process grow.
        latency_ms: Median and 95th percentile of `recommend`, by rows of the batch.
    """

    disk_bytes: int
    memory_bytes: int
    latency_ms: Mapping[int, tuple[float, float]]


def measure(models: Mapping[str, Path], requests: Sequence[Mapping[str, Any]]) -> dict[str, Cost]:
    """Measure models beside each other.

    Latency is taken in this process, the models in turn, so that a busy machine slows them all;
    memory in a process of its own for each.

    Args:
        models: SavedModels by name.
        requests: Instances of the `recommend` signature: user, history, k.
    """
    batches = {rows: _batch(requests, rows) for rows in BATCHES}
    loaded = {name: tf.saved_model.load(str(folder)) for name, folder in models.items()}
    taken: dict[tuple[str, int], list[float]] = {(m, b): [] for m in models for b in BATCHES}
    for rows, batch in batches.items():
        for turn in range(_WARM_UP + _ROUNDS):
            for name, model in loaded.items():
                started = time.perf_counter()
                model.signatures["recommend"](**batch)["items"].numpy()
                if turn >= _WARM_UP:
                    taken[name, rows].append(1e3 * (time.perf_counter() - started))
    del loaded
    gc.collect()
    return {
        name: Cost(
            sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            _memory_of_its_own(folder, requests),
            {rows: _percentiles(taken[name, rows]) for rows in BATCHES},
        )
        for name, folder in models.items()
    }


def _batch(requests: Sequence[Mapping[str, Any]], rows: int) -> dict[str, tf.Tensor]:
    """Return the first rows, the requests repeated when there are fewer, as one padded batch."""
    chosen = [requests[n % len(requests)] for n in range(rows)]
    length = max(len(one["history"]) for one in chosen)
    padded = [[""] * (length - len(one["history"])) + list(one["history"]) for one in chosen]
    return {
        "user": tf.constant([one["user"] for one in chosen], tf.string),
        "history": tf.constant(np.array(padded, object).reshape(rows, length), tf.string),
        "k": tf.constant([one["k"] for one in chosen], tf.int64),
    }


def _percentiles(latency_ms: Sequence[float]) -> tuple[float, float]:
    p50, p95 = np.percentile(latency_ms, (50, 95))
    return float(p50), float(p95)


def _memory_of_its_own(folder: Path, requests: Sequence[Mapping[str, Any]]) -> int:
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder)],
        input=json.dumps(list(requests)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1])


def _growth(folder: Path, requests: Sequence[Mapping[str, Any]]) -> int:
    """Return by how many bytes this process grows when it serves a model."""
    batches = [_batch(requests, rows) for rows in BATCHES]
    before = _resident_bytes()
    recommend = tf.saved_model.load(str(folder)).signatures["recommend"]
    for _ in range(_WARM_UP):
        for batch in batches:
            recommend(**batch)
    return _resident_bytes() - before


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status: no VmRSS")


if __name__ == "__main__":
    print(_growth(Path(sys.argv[1]), json.load(sys.stdin)))
