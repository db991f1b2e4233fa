"""The epochs of a training: until they stop helping, with what is shown and saved after each."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import rich.progress
import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import DataClass, SummaryMetadata

from components.errors import InputError
from components.train.checkpoint import Checkpoint, Epoch, Progress
from components.train.closed_form import ClosedForm
from components.train.curves import best_epoch, figures_text, first_number
from components.train.event_log import EventLog
from components.train.hyperparameters import Hyperparameters
from components.train.interactions import Interactions
from components.train.loop import Trainer
from components.train.validation import Quality, Validator

_log = logging.getLogger(__name__)

# Asked before each epoch but the first with the curve so far; True ends the training there.
Stop = Callable[[tuple[Epoch, ...]], bool]


def never_stop(curve: tuple[Epoch, ...]) -> bool:
    """Let a training go on until its own settings end it."""
    return False


def fit_at_once(
    model: ClosedForm, events: Interactions, *, validator: Validator, log_dir: Path
) -> tuple[Epoch, ...]:
    """Fit a model that has a closed form; the curve has one epoch, and nothing to go on from."""
    started = time.perf_counter()
    loss = model.fit_events(events)
    quality = validator.measure()
    epoch = Epoch(loss, quality.ndcg, time.perf_counter() - started, len(events), quality.rmse)
    for remark in model.remarks():
        _log.info("train: %s", remark)
    with tf.summary.create_file_writer(str(log_dir)).as_default():
        _log_epoch(1, epoch)
    return (epoch,)


def run_epochs(
    trainer: Trainer,
    log: EventLog,
    settings: Hyperparameters,
    *,
    validator: Validator,
    checkpoint: Checkpoint,
    log_dir: Path,
    seed: int,
    stop: Stop = never_stop,
    warm: bool = False,
) -> tuple[Epoch, ...]:
    """Train until the epochs are done or stop helping; leave the best weights in the model.

    A warm start is measured before the first step, as epoch 0: what training makes worse than
    what is in service already is not kept.

    Returns:
        The curve, with the epochs of an earlier, killed run.
    """
    devices, saved = trainer.devices, checkpoint.load()
    curve = saved.curve if saved else ()
    best = saved.best if saved else trainer.state()
    if saved:
        trainer.restore(saved.state)
        done = len(curve) - 1 + first_number(curve)
        _log.info("train: going on after epoch %d of a run that ended early", done)
    if devices.from_chief(len(curve)) != len(curve):
        found = f"{len(curve)} epochs on this worker, another number on the chief"
        raise InputError("parameter checkpoint_root", found, "one folder that all workers see")
    with _writer(log_dir if devices.chief else None).as_default():
        if warm and not curve:
            curve = (_measure(trainer, validator),)
        first = first_number(curve)
        for number, epoch in enumerate(curve, start=first):
            _log_epoch(number, epoch)
        while (done := len(curve) - 1 + first) < settings.epochs and not _exhausted(
            curve, settings.patience
        ):
            if curve and stop(curve):
                break
            curve = (*curve, _run_epoch(trainer, log, settings, validator, done, seed))
            if best_epoch(curve) == len(curve) - 1:
                best = trainer.state()
            _log_epoch(done + 1, curve[-1])
            if devices.chief:
                checkpoint.save(Progress(curve, trainer.state(), best))
    trainer.restore(best)
    return curve


def _exhausted(curve: tuple[Epoch, ...], patience: int) -> bool:
    return bool(curve) and len(curve) - 1 - best_epoch(curve) >= patience


def _run_epoch(
    trainer: Trainer,
    log: EventLog,
    settings: Hyperparameters,
    validator: Validator,
    epoch: int,
    seed: int,
) -> Epoch:
    started = time.perf_counter()
    losses, weights = [], []
    with rich.progress.Progress(transient=True) as progress:
        task = progress.add_task(f"epoch {epoch + 1}/{settings.epochs}", total=log.events)
        for parts in trainer.batches(log, seed=seed, epoch=epoch):
            losses.append(trainer.step(parts))
            weights.append(parts[0].labels)
            progress.advance(task, parts[0].labels)
    weight = tf.constant(weights, tf.float32)
    loss = float(tf.reduce_sum(tf.stack(losses) * weight) / tf.reduce_sum(weight))
    if not math.isfinite(loss):
        raise InputError("training", f"a loss of {loss}", "a finite loss: lower learning_rate")
    seconds = time.perf_counter() - started
    quality = _quality(trainer, validator)
    return Epoch(loss, quality.ndcg, seconds, sum(weights), quality.rmse)


def _measure(trainer: Trainer, validator: Validator) -> Epoch:
    """Return epoch 0: a model before its first step."""
    started = time.perf_counter()
    quality = _quality(trainer, validator)
    return Epoch(math.nan, quality.ndcg, time.perf_counter() - started, 0, quality.rmse)


def _quality(trainer: Trainer, validator: Validator) -> Quality:
    """Return the chief's own measurement, so that all workers stop at the same epoch."""
    devices = trainer.devices
    quality = validator.measure() if devices.chief else Quality(0.0, 0.0)
    return Quality(devices.from_chief(quality.ndcg), devices.from_chief(quality.rmse))


def _writer(log_dir: Path | None) -> tf.summary.SummaryWriter:
    if log_dir is None:
        return tf.summary.create_noop_writer()
    return tf.summary.create_file_writer(str(log_dir))


def _log_epoch(number: int, epoch: Epoch) -> None:
    if epoch.labels:
        _write_scalar("loss", epoch.loss, step=number)
        _write_scalar("events_per_s", epoch.labels / epoch.seconds, step=number)
    _write_scalar("eval_ndcg_at_10", epoch.ndcg, step=number)
    if math.isfinite(epoch.rmse):
        _write_scalar("eval_rmse", epoch.rmse, step=number)
    _log.info(
        "train: epoch %d, loss %.4f, %s, %.1f s", number, epoch.loss, figures_text(epoch),
        epoch.seconds,
    )  # fmt: skip


def _write_scalar(tag: str, value: float, *, step: int) -> None:
    # What tf.summary.scalar writes; that function itself wants the tensorboard package installed.
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class=DataClass.DATA_CLASS_SCALAR,
    )
    tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
