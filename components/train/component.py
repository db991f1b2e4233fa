"""The train step as a KFP component, and the trials of a search for its hyper-parameters."""

from kfp import dsl

from components.images import PIPELINE_IMAGE, TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def train(
    events: dsl.Input[dsl.Dataset],
    catalogue: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    transform_graph: dsl.Input[dsl.Artifact],
    model: dsl.Output[dsl.Model],
    training_report: dsl.Output[dsl.HTML],
    logs: dsl.Output[dsl.Artifact],
    model_name: str = "two_tower",
    hyperparameters: str = "{}",
    attempt: int = 1,
    seed: int = 1,
    checkpoint_root: str = "",
    explain: bool = False,
    strategy: str = "auto",
    precision: str = "float32",
    warm_start: str = "",
    warm_start_mismatch: str = "refuse",
) -> None:
    """Train a model, keep the epoch that is best on the eval split, and export it.

    Args:
        events: Parquet, split into train, eval and test.
        catalogue: Parquet, one row per item.
        schema: tensorflow_metadata Schema of the events, text proto.
        transform_graph: TensorFlow Transform output.
        model: SavedModel with signatures recommend, serving_default, evaluate, maybe explain.
        training_report: The training curves.
        logs: TensorBoard logs.
        model_name: Name in the registry, components/train/models/registry.py.
        hyperparameters: JSON object; names left out keep the model's default. Empty: what the model
            itself has for the attempt.
        attempt: Which of a run's attempts this is: 1, 2 or 3.
        seed: Seed of every random choice.
        checkpoint_root: Folder or URI; a killed training goes on from there. Empty: no checkpoints.
        explain: Whether the model has the signature explain.
        strategy: Devices: one, mirrored (all GPUs), multi_worker (TF_CONFIG), auto (what there is).
        precision: float32, mixed_bfloat16 or mixed_float16.
        warm_start: URI of a published package to go on from. Empty: none.
        warm_start_mismatch: When that model does not fit: refuse, or anew to start without it.
    """
    from pathlib import Path

    from components.train.fit import train
    from components.train.settings import DeviceSettings, TrainSettings, WarmStart

    summary = train(
        events_dir=Path(events.path),
        catalogue_dir=Path(catalogue.path),
        schema_path=Path(schema.path),
        transform_graph_dir=Path(transform_graph.path),
        model_dir=Path(model.path),
        report_path=Path(training_report.path),
        log_dir=Path(logs.path),
        checkpoint_root=checkpoint_root,
        settings=TrainSettings(
            model=model_name,
            hyperparameters=hyperparameters,
            attempt=attempt,
            seed=seed,
            explain=explain,
            devices=DeviceSettings(strategy=strategy, precision=precision),
            warm_start=WarmStart(warm_start, warm_start_mismatch),
        ),
    )
    model.metadata.update(summary.eval_metrics())
    model.metadata["best_epoch"] = summary.best_epoch


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def plan_trials(
    model_name: str,
    hyperparameters: str,
    search_space: str,
    trials: int,
    parallel: int,
    precision: str = "float32",
) -> list[int]:
    """Check what a search is asked to do, and number the tasks that share its trials.

    Args:
        model_name: Name in the registry.
        hyperparameters: JSON object: trial 0, and what the space does not name.
        search_space: JSON object; "" is the model's own space.
        trials: Trials of the whole search.
        parallel: Most tasks at a time.
        precision: As in train.
    """
    from components.train.settings import DeviceSettings, TrainSettings
    from components.train.trials.settings import SearchSettings, plan_workers

    return plan_workers(
        SearchSettings(
            train=TrainSettings(
                model=model_name,
                hyperparameters=hyperparameters,
                devices=DeviceSettings(precision=precision),
            ),
            space=search_space,
            trials=trials,
        ),
        parallel=parallel,
    )


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def trials(
    events: dsl.Input[dsl.Dataset],
    catalogue: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    transform_graph: dsl.Input[dsl.Artifact],
    worker: int,
    count: int,
    parallel: int,
    study_root: str,
    model_name: str = "two_tower",
    hyperparameters: str = "{}",
    search_space: str = "",
    seed: int = 1,
    checkpoint_root: str = "",
    precision: str = "float32",
) -> str:
    """Run one task's share of a search's trials; returns where their study is.

    Args:
        events: Parquet, split into train, eval and test; the test split is not read.
        catalogue: Parquet, one row per item.
        schema: tensorflow_metadata Schema of the events, text proto.
        transform_graph: TensorFlow Transform output.
        worker: Number of this task, from 0.
        count: Trials of the whole search.
        parallel: Most tasks at a time, as given to plan_trials.
        study_root: Folder or gs:// prefix of what trials publish.
        model_name: Name in the registry.
        hyperparameters: JSON object: trial 0, and what the space does not name.
        search_space: JSON object; "" is the model's own space.
        seed: Seed of every random choice.
        checkpoint_root: Folder or URI; a killed trial goes on there. Empty: it begins again.
        precision: As in train.
    """
    from pathlib import Path

    from components.train.settings import DeviceSettings, TrainSettings
    from components.train.trials.settings import SearchSettings
    from components.train.trials.worker import run_trials

    settings = TrainSettings(
        model=model_name,
        hyperparameters=hyperparameters,
        seed=seed,
        devices=DeviceSettings(precision=precision),
    )
    return run_trials(
        events_dir=Path(events.path),
        catalogue_dir=Path(catalogue.path),
        schema_path=Path(schema.path),
        transform_graph_dir=Path(transform_graph.path),
        search=SearchSettings(train=settings, space=search_space, trials=count),
        study_root=study_root,
        checkpoint_root=checkpoint_root,
        worker=worker,
        workers=min(parallel, count),
    )
