"""Where a killed training goes on: one file per training, replaced whole after each epoch."""

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.checksum import tree_digest
from components.model_identity import model_identity

Arrays = list[npt.NDArray[np.generic]]


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One line of the training curve.

    Attributes:
        loss: Mean of the batches' losses; NaN of a warm start's epoch 0, which has none.
        ndcg: NDCG@10 on the eval split's sample.
        seconds: Wall time, without the one epoch-independent start.
        labels: Labels trained on; 0 of a warm start's epoch 0.
        rmse: RMSE of the eval split's ratings; NaN for a model that predicts none.
    """

    loss: float
    ndcg: float
    seconds: float
    labels: int
    rmse: float = math.nan


@dataclasses.dataclass(frozen=True)
class Progress:
    """Everything a training needs to go on.

    Attributes:
        curve: Epochs done.
        state: Weights and the optimizer's slots after the last epoch.
        best: The same after the best epoch.
    """

    curve: tuple[Epoch, ...]
    state: Arrays
    best: Arrays


def training_key(data: Sequence[Path], transform_graph_dir: Path, settings: str) -> str:
    """Return the name of a training: equal data, transform graph and settings, equal name."""
    parts = [*map(tree_digest, data), model_identity(transform_graph_dir)]
    return hashlib.sha256("\n".join([*parts, settings]).encode()).hexdigest()[:32]


class Checkpoint:
    """The checkpoint of one training below a root; any path `tf.io.gfile` understands."""

    def __init__(self, root: str, key: str) -> None:
        """Name the checkpoint; an empty root keeps none."""
        self._folder = f"{root.rstrip('/')}/{key}" if root else ""
        self._file = f"{self._folder}/progress.npz"

    def save(self, progress: Progress) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old or the new one whole."""
        if not self._folder:
            return
        buffer = io.BytesIO()
        curve = json.dumps([dataclasses.asdict(epoch) for epoch in progress.curve])
        arrays = {f"state_{n}": value for n, value in enumerate(progress.state)}
        arrays |= {f"best_{n}": value for n, value in enumerate(progress.best)}
        np.savez(buffer, curve=np.array(curve), **arrays)  # type: ignore[arg-type]  # numpy stub
        tf.io.gfile.makedirs(self._folder)
        partial = f"{self._file}.partial"
        with tf.io.gfile.GFile(partial, "wb") as file:
            file.write(buffer.getvalue())
        tf.io.gfile.rename(partial, self._file, overwrite=True)

    def load(self) -> Progress | None:
        """Return what was saved, or None when nothing was."""
        if not self._folder or not tf.io.gfile.exists(self._file):
            return None
        with tf.io.gfile.GFile(self._file, "rb") as file:
            saved = np.load(io.BytesIO(file.read()), allow_pickle=False)
        count = sum(name.startswith("state_") for name in saved.files)
        return Progress(
            curve=tuple(Epoch(**epoch) for epoch in json.loads(str(saved["curve"]))),
            state=[saved[f"state_{n}"] for n in range(count)],
            best=[saved[f"best_{n}"] for n in range(count)],
        )

    def remove(self) -> None:
        """Delete the checkpoint: the training is complete."""
        if self._folder and tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)
