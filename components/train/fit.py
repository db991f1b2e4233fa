"""Train a model from the artifacts of the earlier steps, and write it with its report."""

import dataclasses
import logging
import math
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.train.checkpoint import Checkpoint, Epoch, training_key
from components.train.closed_form import ClosedForm
from components.train.curves import (
    best_epoch,
    figures_text,
    first_number,
    write_training_report,
)
from components.train.devices import Devices
from components.train.epochs import Stop, fit_at_once, never_stop, run_epochs
from components.train.export import export_model
from components.train.hyperparameters import ModelSettings
from components.train.loop import Trainer
from components.train.models.registry import find_model, read_hyperparameters
from components.train.retrieval import Retrieval
from components.train.settings import TrainSettings
from components.train.training_data import TrainingData, open_training_data
from components.train.validation import Validator, make_questions
from components.train.warm_start import Carried, Earlier, carry_over, fetch_earlier, write_record

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainSummary:
    """What came out of a training.

    Attributes:
        model: Name of the model.
        epochs: Epochs trained.
        best_epoch: The epoch that was kept, from 1; 0 is the earlier model as it was carried over.
        ndcg: Its NDCG@10 on the eval split's sample.
        rmse: Its RMSE there; NaN for a model that predicts no ratings.
        events: Events of the train split.
        items: Items in the model's index.
        curve: Every epoch; after a warm start epoch 0, too.
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
    chosen = read_hyperparameters(settings)
    devices = Devices(settings.devices, one_device=entry.one_device)
    files = [events_dir / "train", events_dir / "eval", catalogue_dir]
    with (
        fetch_earlier(settings.warm_start, name=settings.model) as earlier,
        open_training_data(
            events_dir=events_dir,
            catalogue_dir=catalogue_dir,
            transform_graph_dir=transform_graph_dir,
        ) as data,
    ):
        before = earlier.digest if earlier else ""
        text = f"{settings} {before} {chosen} {schema_path.read_text(encoding='utf-8')}"
        checkpoint = Checkpoint(checkpoint_root, training_key(files, transform_graph_dir, text))
        fitted = fit_model(
            data,
            chosen,
            settings=settings,
            checkpoint=checkpoint,
            log_dir=log_dir,
            devices=devices,
            earlier=earlier,
        )
    model, curve = fitted.model, fitted.curve
    items, events = data.items, data.log.events
    if devices.chief:
        export_model(
            model, items, graph=data.graph, model_dir=model_dir, explained=settings.explain
        )
        write_record(model, model_dir, name=settings.model)
        write_training_report(
            report_path,
            curve,
            model=settings.model,
            settings=chosen,
            items=len(items),
            remarks=(*model.remarks(), *fitted.remarks()),
        )
        checkpoint.remove()
    devices.wait()
    best, first = best_epoch(curve), first_number(curve)
    _log.info(
        "train: %s, %s events, %s items, epoch %d of %d kept, %s on eval",
        settings.model, f"{events:,}", f"{len(items):,}",
        best + first, len(curve) - 1 + first, figures_text(curve[best]),
    )  # fmt: skip
    kept = curve[best]
    return TrainSummary(
        settings.model,
        len(curve) - 1 + first,
        best + first,
        kept.ndcg,
        kept.rmse,
        events,
        len(items),
        curve,
    )


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Attributes:
        model: On one device and in float32, with its best epoch's weights.
        curve: Its epochs, with those of an earlier, killed run.
        carried: What it began with; None when it began anew.
    """

    model: Retrieval
    curve: tuple[Epoch, ...]
    carried: Carried | None = None

    def remarks(self) -> tuple[str, ...]:
        """Return what a reader of the report must know of how it was fitted."""
        return (self.carried.sentence(),) if self.carried else ()


def fit_model(
    data: TrainingData,
    chosen: ModelSettings,
    *,
    settings: TrainSettings,
    checkpoint: Checkpoint,
    log_dir: Path,
    stop: Stop = never_stop,
    devices: Devices | None = None,
    earlier: Earlier | None = None,
) -> Fitted:
    """Build a model and fit it; its best epoch's weights are in it at the end.

    Args:
        data: What it learns from and is judged on.
        chosen: Its hyper-parameters.
        settings: Which model, its seed, and how many users judge it.
        checkpoint: Where a killed training goes on.
        log_dir: Folder for TensorBoard logs.
        stop: Asked before each epoch but the first, with the curve so far.
        devices: What it trains on; None finds what the settings ask for.
        earlier: The model to go on from.

    Raises:
        InputError: If a setting is not allowed, or the earlier model does not fit.
    """
    entry, log = find_model(settings.model), data.log
    devices = devices or Devices(settings.devices, one_device=entry.one_device)
    keras.utils.set_random_seed(settings.seed)
    if not tf.config.list_physical_devices("GPU"):
        # So that the same seed gives the same curve, and a resumed run the same result. For GPUs
        # TensorFlow has no deterministic sparse product or bincount, and would refuse to train.
        tf.config.experimental.enable_op_determinism()
    with devices.scope():
        model = entry.build(data.items, chosen, seed=settings.seed)
    questions = make_questions(
        log, users=settings.eval_users, history_length=model.history_length, seed=settings.seed
    )
    validator = Validator(model, questions)
    carried = carry_over(earlier, model, data.graph) if earlier else None
    if isinstance(model, ClosedForm):
        curve = fit_at_once(model, log.whole(), validator=validator, log_dir=log_dir)
        return Fitted(model, curve)
    model.prepare(log)
    curve = run_epochs(
        Trainer(model, model.settings, devices=devices),
        log,
        model.settings,
        validator=validator,
        checkpoint=checkpoint,
        log_dir=log_dir,
        seed=settings.seed,
        stop=stop,
        warm=carried is not None,
    )
    if devices.plain:
        return Fitted(model, curve, carried)
    served = entry.build(data.items, chosen, seed=settings.seed)
    for variable, trained in zip(served.variables, model.variables, strict=True):
        variable.assign(np.asarray(trained))
    return Fitted(served, curve, carried)
