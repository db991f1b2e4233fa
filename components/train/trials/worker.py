"""One task's share of a search: trials, each trained and judged as `train` does it."""

import contextlib
import dataclasses
import gc
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from components.errors import InputError
from components.object_store import open_store
from components.study.records import State, Study, Trial
from components.study.search import is_hopeless, suggest
from components.study.space import Number, Space, space_json
from components.train.checkpoint import Checkpoint, Epoch, training_key
from components.train.curves import decisive
from components.train.fit import fit_model
from components.train.hyperparameters import ModelSettings
from components.train.training_data import TrainingData, open_training_data
from components.train.trials.settings import SearchSettings

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worker:
    """One task's part in a study: it runs its own unfinished trials, then the next free ones."""

    study: Study
    search: SearchSettings
    number: int
    workers: int
    checkpoint_root: str

    def next_trial(self, space: Space, base: ModelSettings) -> Trial | None:
        """Return the next trial to run, None when nothing is left."""
        while True:
            known = [one for one in self.study.trials() if one.number < self.search.trials]
            for one in known:
                # With fewer tasks than before, those of the missing ones are shared out.
                if one.state == "running" and one.worker % self.workers == self.number:
                    return one
            free = set(range(self.search.trials)) - {one.number for one in known}
            if not free:
                return None
            number = min(free)
            if number == 0:
                chosen: Mapping[str, Number] = {name: getattr(base, name) for name in space}
            else:
                chosen = suggest(space, known, number=number, seed=self.search.train.seed)
            self.study.claim(number, worker=self.number, parameters=chosen)

    def run(self, trial: Trial, data: TrainingData, *, key: str) -> None:
        """Train one trial, publish its epochs, and say how it ended."""
        base, space = self.search.read()
        chosen = dataclasses.replace(base, **trial.parameters)
        checkpoint = Checkpoint(self.checkpoint_root, f"{key}-trial-{trial.number:04d}")
        pruned_at = 0

        def stop(curve: tuple[Epoch, ...]) -> bool:
            nonlocal pruned_at
            self.publish(trial, curve)
            # Trial 0 is what the others are compared with: it is always trained to its end.
            if trial.number and is_hopeless(space, self.study.trials(), trial.number):
                pruned_at = len(curve)
            return bool(pruned_at)

        state: State
        try:
            with tempfile.TemporaryDirectory() as logs:
                curve = fit_model(
                    data,
                    chosen,
                    settings=self.search.train,
                    checkpoint=checkpoint,
                    log_dir=Path(logs),
                    stop=stop,
                ).curve
        except (InputError, tf.errors.ResourceExhaustedError) as error:
            # Hyper-parameters that cannot be trained are an answer, too: the search goes on.
            state, reason = "failed", str(error).splitlines()[0]
        else:
            # Nobody asks whether to stop after the last epoch.
            self.publish(trial, curve)
            state, reason = "complete", "trained to its end"
            if pruned_at:
                state, reason = "pruned", f"below the median after epoch {pruned_at}"
        self.study.end(trial.number, state=state, reason=reason)
        checkpoint.remove()

    def publish(self, trial: Trial, curve: tuple[Epoch, ...]) -> None:
        """Publish a trial's epochs; those that have been, stay as they are."""
        for number, epoch in enumerate(curve, start=1):
            metric, value = decisive(epoch)
            self.study.publish(
                trial.number, epoch=number, value=value, seconds=epoch.seconds, metric=metric
            )


def run_trials(
    *,
    events_dir: Path,
    catalogue_dir: Path,
    schema_path: Path,
    transform_graph_dir: Path,
    search: SearchSettings,
    study_root: str,
    checkpoint_root: str,
    worker: int,
    workers: int,
) -> str:
    """Run one task's share of a study's trials; killed and started again, it goes on.

    Args:
        events_dir: Events artifact; its train and eval splits are read.
        catalogue_dir: Catalogue artifact.
        schema_path: Schema of the events; a part of the study's name.
        transform_graph_dir: The fitted transform graph.
        search: What is searched.
        study_root: Object store of studies: a folder or gs://.
        checkpoint_root: Folder or URI of the trials' checkpoints; "" keeps none.
        worker: Number of this task, from 0.
        workers: How many tasks there are.

    Returns:
        Where the study is: a URI.

    Raises:
        InputError: If a setting is not allowed or an input is missing.
    """
    base, space = search.read()
    files = [events_dir / "train", events_dir / "eval", catalogue_dir]
    schema = schema_path.read_text(encoding="utf-8")
    text = f"{dataclasses.replace(search.train, hyperparameters='')} {base} {space_json(space)}"
    key = training_key(files, transform_graph_dir, f"{text} {schema}")
    study = Study(open_store(study_root), key)
    study.describe(space)
    member = Worker(
        study=study,
        search=search,
        number=worker,
        workers=workers,
        checkpoint_root=checkpoint_root,
    )
    with contextlib.ExitStack() as opened:
        data = None
        while (trial := member.next_trial(space, base)) is not None:
            data = data or opened.enter_context(
                open_training_data(
                    events_dir=events_dir,
                    catalogue_dir=catalogue_dir,
                    transform_graph_dir=transform_graph_dir,
                )
            )
            _log.info("trials: %d begins with %s", trial.number, json.dumps(dict(trial.parameters)))
            member.run(trial, data, key=key)
            ended = next(one for one in study.trials() if one.number == trial.number)
            _log.info(
                "trials: %d of %d, %s, %s %.4f",
                trial.number,
                search.trials,
                ended.state,
                ended.metric,
                ended.best,
            )
            # The graph and the weights of the last one; the data stays.
            keras.backend.clear_session()
            gc.collect()
    return study.uri
