"""Train a model from the artifacts of the earlier steps, and write it with its report."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import rich.progress
import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import DataClass, SummaryMetadata

from components.errors import InputError
from components.train.checkpoint import Checkpoint, Epoch, Progress, training_key
from components.train.closed_form import ClosedForm
from components.train.curves import best_epoch, eval_figures, write_training_report
from components.train.export import export_model
from components.train.hyperparameters import (
    Hyperparameters,
    ModelSettings,
    parse_hyperparameters,
)
from components.train.interactions import Interactions
from components.train.loop import Trainer
from components.train.models.registry import find_model
from components.train.retrieval import Retrieval
from components.train.settings import TrainSettings
from components.train.training_data import TrainingData, read_training_data
from components.train.validation import Validator, make_questions

_log = logging.getLogger(__name__)

# Asked before each epoch but the first with the curve so far; True ends the training there.
Stop = Callable[[tuple[Epoch, ...]], bool]


def never_stop(curve: tuple[Epoch, ...]) -> bool:
    """Let a training go on until its own settings end it."""
    return False


@dataclasses.dataclass(frozen=True)
class TrainSummary:
    """What came out of a training.

    Attributes:
        model: Name of the model.
        epochs: Epochs trained.
        best_epoch: The epoch that was kept, from 1.
        ndcg: Its NDCG@10 on the eval split's sample.
        rmse: Its RMSE there; NaN for a model that predicts no ratings.
        events: Events of the train split.
        items: Items in the model's index.
        curve: Every epoch.
    """

    model: str
    epochs: int
    best_epoch: int
    ndcg: float
    rmse: float
    events: int
    items: int
    curve: tuple[Epoch, ...]

    def eval_metrics(self) -> dict[str, float]:
        """Return what the kept epoch reached on the eval split, by the artifact's own names."""
        rmse = {"eval_rmse": self.rmse} if math.isfinite(self.rmse) else {}
        return {"eval_ndcg_at_10": self.ndcg} | rmse


def train(
    *,
    events_dir: Path,
    catalogue_dir: Path,
    schema_path: Path,
    transform_graph_dir: Path,
    model_dir: Path,
    report_path: Path,
    log_dir: Path,
    checkpoint_root: str,
    settings: TrainSettings,
) -> TrainSummary:
    """Train, keep the epoch that is best on the eval split, and export it.

    Args:
        events_dir: Events artifact; its train and eval splits are read.
        catalogue_dir: Catalogue artifact; all its items are indexed.
        schema_path: Schema of the events; a part of the training's name.
        transform_graph_dir: The fitted transform graph.
        model_dir: Output: the SavedModel.
        report_path: Output: the HTML page with the curves.
        log_dir: Output: TensorBoard logs.
        checkpoint_root: Folder or URI for checkpoints; a run killed and started again with equal
            inputs and settings goes on after its last epoch. "" keeps none.
        settings: What to train.

    Raises:
        InputError: If a setting is not allowed, an input is missing, or the train split is empty.
    """
    entry = find_model(settings.model)
    chosen = parse_hyperparameters(settings.hyperparameters, entry.settings)
    data = read_training_data(
        events_dir=events_dir, catalogue_dir=catalogue_dir, transform_graph_dir=transform_graph_dir
    )
    files = [events_dir / "train", events_dir / "eval", catalogue_dir]
    text = f"{settings} {chosen} {schema_path.read_text(encoding='utf-8')}"
    checkpoint = Checkpoint(checkpoint_root, training_key(files, transform_graph_dir, text))
    model, curve = fit_model(
        data, chosen, settings=settings, checkpoint=checkpoint, log_dir=log_dir
    )
    items = data.items
    export_model(model, items, graph=data.graph, model_dir=model_dir, explained=settings.explain)
    write_training_report(
        report_path,
        curve,
        model=settings.model,
        settings=chosen,
        items=len(items),
        remarks=model.remarks(),
    )
    checkpoint.remove()
    best = best_epoch(curve)
    _log.info(
        "train: %s, %s events, %s items, epoch %d of %d kept, %s on eval",
        settings.model, f"{len(data.events):,}", f"{len(items):,}",
        best + 1, len(curve), _figures(curve[best]),
    )  # fmt: skip
    kept = curve[best]
    return TrainSummary(
        settings.model,
        len(curve),
        best + 1,
        kept.ndcg,
        kept.rmse,
        len(data.events),
        len(items),
        curve,
    )


def fit_model(
    data: TrainingData,
    chosen: ModelSettings,
    *,
    settings: TrainSettings,
    checkpoint: Checkpoint,
    log_dir: Path,
    stop: Stop = never_stop,
) -> tuple[Retrieval, tuple[Epoch, ...]]:
    """Build a model and fit it; its best epoch's weights are in it at the end.

    Args:
        data: What it learns from and is judged on.
        chosen: Its hyper-parameters.
        settings: Which model, its seed, and how many users judge it.
        checkpoint: Where a killed training goes on.
        log_dir: Folder for TensorBoard logs.
        stop: Asked before each epoch but the first, with the curve so far.

    Returns:
        The model and its curve, also the epochs of an earlier, killed run.
    """
    keras.utils.set_random_seed(settings.seed)
    # So that the same seed gives the same curve, and a resumed run the same result.
    tf.config.experimental.enable_op_determinism()
    model = find_model(settings.model).build(data.items, chosen, seed=settings.seed)
    questions = make_questions(
        data.with_eval,
        since_us=int(data.events.time_us.max()) + 1,
        users=settings.eval_users,
        history_length=model.history_length,
        seed=settings.seed,
    )
    validator = Validator(model, questions)
    if isinstance(model, ClosedForm):
        curve = fit_at_once(model, data.events, validator=validator, log_dir=log_dir)
        return model, curve
    model.prepare(data.events)
    curve = run_epochs(
        Trainer(model, model.settings),
        data.events,
        model.settings,
        validator=validator,
        checkpoint=checkpoint,
        log_dir=log_dir,
        seed=settings.seed,
        stop=stop,
    )
    return model, curve


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
    events: Interactions,
    settings: Hyperparameters,
    *,
    validator: Validator,
    checkpoint: Checkpoint,
    log_dir: Path,
    seed: int,
    stop: Stop,
) -> tuple[Epoch, ...]:
    """Train until the epochs are done or stop helping; leave the best weights in the model.

    Returns:
        The curve, with the epochs of an earlier, killed run.
    """
    saved = checkpoint.load()
    curve = saved.curve if saved else ()
    best = saved.best if saved else trainer.state()
    if saved:
        trainer.restore(saved.state)
        _log.info("train: going on after epoch %d of a run that ended early", len(curve))
    with tf.summary.create_file_writer(str(log_dir)).as_default():
        for number, epoch in enumerate(curve, start=1):
            _log_epoch(number, epoch)
        while len(curve) < settings.epochs and not _exhausted(curve, settings.patience):
            if curve and stop(curve):
                break
            curve = (*curve, _run_epoch(trainer, events, settings, validator, len(curve), seed))
            if best_epoch(curve) == len(curve) - 1:
                best = trainer.state()
            _log_epoch(len(curve), curve[-1])
            checkpoint.save(Progress(curve, trainer.state(), best))
    trainer.restore(best)
    return curve


def _exhausted(curve: tuple[Epoch, ...], patience: int) -> bool:
    return bool(curve) and len(curve) - 1 - best_epoch(curve) >= patience


def _run_epoch(
    trainer: Trainer,
    events: Interactions,
    settings: Hyperparameters,
    validator: Validator,
    epoch: int,
    seed: int,
) -> Epoch:
    started = time.perf_counter()
    losses, weights = [], []
    with rich.progress.Progress(transient=True) as progress:
        task = progress.add_task(f"epoch {epoch + 1}/{settings.epochs}", total=len(events))
        for batch in trainer.model.epoch_batches(events, seed=seed, epoch=epoch):
            losses.append(trainer.step(batch))
            weights.append(batch.labels)
            progress.advance(task, batch.labels)
    weight = tf.constant(weights, tf.float32)
    loss = float(tf.reduce_sum(tf.stack(losses) * weight) / tf.reduce_sum(weight))
    if not math.isfinite(loss):
        raise InputError("training", f"a loss of {loss}", "a finite loss: lower learning_rate")
    seconds = time.perf_counter() - started
    quality = validator.measure()
    return Epoch(loss, quality.ndcg, seconds, sum(weights), quality.rmse)


def _log_epoch(number: int, epoch: Epoch) -> None:
    _write_scalar("loss", epoch.loss, step=number)
    _write_scalar("eval_ndcg_at_10", epoch.ndcg, step=number)
    if math.isfinite(epoch.rmse):
        _write_scalar("eval_rmse", epoch.rmse, step=number)
    _write_scalar("events_per_s", epoch.labels / epoch.seconds, step=number)
    _log.info(
        "train: epoch %d, loss %.4f, %s, %.1f s", number, epoch.loss, _figures(epoch), epoch.seconds
    )


def _figures(epoch: Epoch) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in eval_figures(epoch).items())


def _write_scalar(tag: str, value: float, *, step: int) -> None:
    # What tf.summary.scalar writes; that function itself wants the tensorboard package installed.
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class=DataClass.DATA_CLASS_SCALAR,
    )
    tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
