"""The devices that train together: one, all GPUs of a machine, or those of several workers."""

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from components.errors import InputError
from components.train.settings import DeviceSettings
from components.train.shares import Share, replica


class Devices:
    """A `tf.distribute` strategy, seen from this process.

    Attributes:
        strategy: The strategy.
        shares: This process's devices' parts of every batch.
        workers: Processes that train together.
        chief: Whether this process writes what all have learned: checkpoints, report and model.
        settings: What was asked for.
    """

    def __init__(
        self,
        settings: DeviceSettings,
        *,
        one_device: bool = False,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Find the devices; to be called before TensorFlow computes anything.

        Args:
            settings: What is asked for.
            one_device: Whether the model can be trained on one device alone; `auto` is that one.
            environment: Where TF_CONFIG is looked up.

        Raises:
            InputError: If what is asked for is not there.
        """
        self.settings = settings
        self.workers, self.chief = read_cluster(environment.get("TF_CONFIG", ""))
        if one_device:
            _refuse_several(settings.strategy, workers=self.workers)
        name = "one" if one_device else settings.strategy
        self.strategy = _make_strategy(name, workers=self.workers)
        self._add_up = tf.function(self._add_workers)
        count = self.strategy.num_replicas_in_sync
        if count == 1:
            self.shares: tuple[Share, ...] = (Share(),)
        else:
            numbers = self.strategy.experimental_distribute_values_from_function(
                lambda replica: tf.constant(replica.replica_id_in_sync_group)
            )
            local = self.strategy.experimental_local_results(numbers)
            self.shares = tuple(Share(int(number), count) for number in local)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Make variables on every device, and layers that compute in the precision asked for."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.settings.precision)
        try:
            with self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)

    def from_chief(self, value: float) -> float:
        """Return the chief's value on every worker; waits for all of them."""
        if self.workers == 1:
            return value
        own = tf.constant(value if self.chief else 0.0, tf.float64)
        return float(self._add_up(own))

    def _add_workers(self, value: tf.Tensor) -> tf.Tensor:
        first = self.shares[0].index
        values = self.strategy.run(lambda: value if replica() == first else tf.zeros_like(value))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    @property
    def plain(self) -> bool:
        """Whether a model trained here is on one device and in float32 throughout."""
        return len(self.shares) == self.shares[0].count == 1 and (
            self.settings.precision == "float32"
        )

    def wait(self) -> None:
        """Wait until every worker has come here."""
        self.from_chief(0.0)

    def own_part(self, parts: tuple[Any, ...]) -> Any:
        """Return the part of the device that the calling replica computes on."""
        return parts[replica() - self.shares[0].index]


def read_cluster(text: str) -> tuple[int, bool]:
    """Return how many workers a TF_CONFIG names, and whether this one is their chief.

    Args:
        text: The value of TF_CONFIG, as a TFJob sets it; "" is one worker.

    Raises:
        InputError: If it is not a cluster of a chief and workers that this process is one of.
    """
    if not text:
        return 1, True
    expected = "a cluster of chief and worker, and a task that is one of them"
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        known = set(cluster) <= {"chief", "worker"} and 0 <= index < len(cluster[kind])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("TF_CONFIG", f"{text!r} ({error!r})", expected) from error
    if not known:
        raise InputError("TF_CONFIG", repr(text), expected)
    first = "chief" if cluster.get("chief") else "worker"
    return sum(map(len, cluster.values())), (kind, index) == (first, 0)


def _refuse_several(strategy: str, *, workers: int) -> None:
    expected = "for a model that trains on one device"
    if workers > 1:
        raise InputError("TF_CONFIG", f"{workers} workers", f"one, {expected}")
    if strategy not in ("one", "auto"):
        raise InputError("parameter strategy", repr(strategy), f"one or auto, {expected}")


# One a process: the collective operations of a second one are taken for those of the first.
@functools.cache
def _make_strategy(name: str, *, workers: int) -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU") if workers == 1 or name != "auto" else []
    if name == "auto":
        name = "multi_worker" if workers > 1 else "mirrored" if len(gpus) > 1 else "one"
    if name != "multi_worker" and workers > 1:
        raise InputError("parameter strategy", repr(name), f"multi_worker with {workers} workers")
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise InputError(
                "parameter strategy", f"'mirrored' with {len(devices)} device", "at least two"
            )
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if workers == 1:
        raise InputError(
            "parameter strategy", "'multi_worker' without", "TF_CONFIG with several workers"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()
