"""The history of a search as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import markupsafe

from components import report
from components.study.records import Trial
from components.study.space import Range, Space

_GROUPS = {"complete": "complete", "pruned": "pruned"}


def write_tuning_report(
    path: Path,
    trials: Sequence[Trial],
    *,
    best: Trial,
    space: Space,
    importance: Mapping[str, float],
) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        trials: Trials that have ended, in order of their number.
        best: The one that was chosen.
        space: What was searched.
        importance: Share of each hyper-parameter; empty when it cannot be told.
    """
    default = trials[0].best
    lead = f"Trial {best.number} of {len(trials)} is used: {best.metric} {best.best:.4f} on eval"
    if best.number == 0:
        lead += "; it is the one without tuning, nothing that was tried was better."
    elif default:
        change = (best.best - default) / abs(default)
        lead += f", {default:.4f} without tuning ({change:+.1%})." if default == default else "."
    sections = [
        (f"{best.metric} by trial", _history(trials, best.metric)),
        (f"{best.metric} by hyper-parameter", _scatters(trials, space, best.metric)),
        ("What mattered", _importance(importance)),
        ("Trials", _table(trials, best=best, names=sorted(space))),
        ("How to read this", _how_to_read()),
    ]
    report.write_page(path, title="Search for hyper-parameters", lead=lead, sections=sections)


def _history(trials: Sequence[Trial], metric: str) -> markupsafe.Markup:
    measured = [one for one in trials if one.state == "complete" and one.best == one.best]
    best_so_far = [max(o.best for o in measured[: n + 1]) for n in range(len(measured))]
    return report.scatter_plot(
        _points(trials, {one.number: float(one.number) for one in trials}),
        x_label="trial; trial 0 has the hyper-parameters that are used without a search",
        y_label=f"best {metric} of its epochs, on the eval split's sample of users",
        steps=("best so far", [float(one.number) for one in measured], best_so_far),
    )


def _scatters(trials: Sequence[Trial], space: Space, metric: str) -> markupsafe.Markup:
    plots = [
        report.scatter_plot(
            _points(trials, {one.number: float(one.parameters[name]) for one in trials}),
            x_label=name,
            y_label=f"best {metric} of its epochs",
            log_x=isinstance(bounds, Range) and bounds.log,
            height=2.2,
        )
        for name, bounds in sorted(space.items())
    ]
    return markupsafe.Markup("").join(plots)


def _points(
    trials: Sequence[Trial], x: Mapping[int, float]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the trials that have a value, by how they ended; x values by number of the trial."""
    groups = {}
    for state, name in _GROUPS.items():
        of_state = [one for one in trials if one.state == state and one.best == one.best]
        if of_state:
            groups[name] = ([x[one.number] for one in of_state], [one.best for one in of_state])
    return groups


def _importance(importance: Mapping[str, float]) -> markupsafe.Markup:
    if not importance:
        words = "Too few complete trials to tell which hyper-parameter mattered: eight are needed."
        return report.paragraph(words)
    return report.bar_plot(
        dict(sorted(importance.items(), key=lambda item: -item[1])),
        x_label="share in whether a trial is among the best quarter (PED-ANOVA)",
    )


def _table(trials: Sequence[Trial], *, best: Trial, names: Sequence[str]) -> markupsafe.Markup:
    rows = [
        [
            one.number,
            *(one.parameters[name] for name in names),
            one.best if one.best == one.best else None,
            len(one.values),
            sum(one.seconds),
            _state(one, chosen=one.number == best.number),
        ]
        for one in trials
    ]
    header = ["trial", *names, f"{best.metric} (eval)", "epochs", "seconds", "how it ended"]
    return report.table(header, rows)


def _state(trial: Trial, *, chosen: bool) -> markupsafe.Markup | str:
    if chosen:
        return report.verdict("best", good=True)
    if trial.state == "failed":
        return report.verdict(f"failed: {trial.reason}", good=False)
    return _GROUPS[trial.state]


def _how_to_read() -> markupsafe.Markup:
    texts = [
        "Every trial is trained on the train split and judged on the eval split, like the train "
        "step's own epochs; the test split is not read. The best of many trials looks a little "
        "better on the eval split than it is: the evaluation report judges it on the test split.",
        "A trial is pruned when its best so far is below the median of the complete "
        "trials after as many epochs; at least three must be complete before.",
    ]
    return markupsafe.Markup("").join(report.paragraph(text) for text in texts)
