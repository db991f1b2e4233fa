"""The step's work: every trial has ended, the best one is chosen, the page is written."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from components.errors import InputError
from components.study.records import best_trial, open_study
from components.study.search import importance
from components.tune.tuning_report import write_tuning_report

_log = logging.getLogger(__name__)


def tune(studies: Sequence[str], *, trials: int, hyperparameters: str, report_path: Path) -> str:
    """Choose the best trial of a study.

    Args:
        studies: Where the study is, by each task that ran trials.
        trials: Trials that must have ended.
        hyperparameters: JSON object the search began with; "" for the defaults.
        report_path: Output: the HTML page.

    Returns:
        The best trial's hyper-parameters with those that were not searched, a JSON object.

    Raises:
        InputError: If the tasks do not name one study, a trial has not ended, or none is complete.
    """
    if len(set(studies)) != 1:
        raise InputError("studies", repr(sorted(set(studies))), "one study, the same of all tasks")
    study = open_study(studies[0])
    space, known = study.space(), study.trials()
    ended = [one for one in known if one.state != "running"]
    if len(ended) < trials:
        raise InputError(study.uri, f"{len(ended)} trials that have ended", f"at least {trials}")
    best = best_trial(ended)
    if best is None:
        reasons = "; ".join(dict.fromkeys(f"{one.state}: {one.reason}" for one in ended))
        raise InputError(study.uri, f"no complete trial that was measured ({reasons})", "one")
    write_tuning_report(
        report_path, ended, best=best, space=space, importance=importance(space, ended)
    )
    pruned, failed = (sum(o.state == state for o in ended) for state in ("pruned", "failed"))
    _log.info(
        "tune: trial %d of %d is best, %s %.4f on eval (%s), %d pruned, %d failed",
        best.number, len(ended), best.metric, best.best, _against_default(ended[0].best),
        pruned, failed,
    )  # fmt: skip
    return json.dumps(json.loads(hyperparameters or "{}") | dict(best.parameters), sort_keys=True)


def _against_default(value: float) -> str:
    return f"{value:.4f} without tuning" if value == value else "not measured without tuning"
