"""The tune step as a KFP component."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def tune(
    studies: list[str],
    trials: int,
    hyperparameters: str,
    tuning_report: dsl.Output[dsl.HTML],
) -> str:
    """End a search: return the best trial's hyper-parameters, a JSON object for train.

    Args:
        studies: Where the study is, by each task that ran trials: all say the same.
        trials: Trials that must have ended.
        hyperparameters: JSON object the search began with.
        tuning_report: The history of the search.
    """
    from pathlib import Path

    from components.tune.tune import tune

    return tune(
        studies,
        trials=trials,
        hyperparameters=hyperparameters,
        report_path=Path(tuning_report.path),
    )
