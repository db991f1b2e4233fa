"""The train step as a KFP component."""

from kfp import dsl

from components.images import TRAIN_IMAGE


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
    seed: int = 1,
    checkpoint_root: str = "",
) -> None:
    """Train a model, keep the epoch that is best on the eval split, and export it.

    Args:
        events: Parquet, split into train, eval and test.
        catalogue: Parquet, one row per item.
        schema: tensorflow_metadata Schema of the events, text proto.
        transform_graph: TensorFlow Transform output.
        model: SavedModel with signatures recommend, serving_default and evaluate.
        training_report: The training curves.
        logs: TensorBoard logs.
        model_name: Name in the registry, components/train/models/registry.py.
        hyperparameters: JSON object; names left out keep the model's default.
        seed: Seed of every random choice.
        checkpoint_root: Folder or URI; a killed training goes on from there. Empty: no checkpoints.
    """
    from pathlib import Path

    from components.train.fit import train
    from components.train.settings import TrainSettings

    summary = train(
        events_dir=Path(events.path),
        catalogue_dir=Path(catalogue.path),
        schema_path=Path(schema.path),
        transform_graph_dir=Path(transform_graph.path),
        model_dir=Path(model.path),
        report_path=Path(training_report.path),
        log_dir=Path(logs.path),
        checkpoint_root=checkpoint_root,
        settings=TrainSettings(model=model_name, hyperparameters=hyperparameters, seed=seed),
    )
    model.metadata["eval_ndcg_at_10"] = summary.ndcg
    model.metadata["best_epoch"] = summary.best_epoch
