"""Measurements as tables and plots of the evaluation report."""

import math
from collections.abc import Mapping, Sequence

import markupsafe

from components import report
from components.evaluate.analysis import Measurement
from components.evaluate.gate import LOWER_IS_BETTER, OVERALL, difference_name

NAMES = {
    "candidate": "this model",
    "live": "model in service",
    "reference": "model it was made of",
    "popularity": "most popular items",
    "household_frequency": "household's own favourites",
    "item_cooccurrence": "bought by the same people",
    "biases": "mean of item and household",
}

Table = Mapping[tuple[str, str, str], Measurement]


def label(model: str) -> str:
    """Return what the page calls a model: in a comparison of families, its own name."""
    return NAMES.get(model, model)


def comparison(
    found: Table, models: Sequence[str], metrics: Sequence[str], *, shown: str
) -> markupsafe.Markup:
    """Return a plot of one metric, a table of all, and a table of the candidate's differences.

    Args:
        found: Measurements by model, metric and slice.
        models: Models in order; the first is the candidate.
        metrics: Metrics in order.
        shown: The metric of the plot.
    """
    bars = {label(model): found[model, shown, OVERALL] for model in models}
    better = "shorter" if shown in LOWER_IS_BETTER else "longer"
    plot = report.bar_plot(
        {name: one.value for name, one in bars.items()},
        x_label=f"{heading(shown)}, with 95 % confidence intervals; {better} is better",
        intervals={n: (one.low, one.high) for n, one in bars.items() if math.isfinite(one.low)},
    )
    rows = [
        [label(model), *(with_interval(found[model, name, OVERALL]) for name in metrics)]
        for model in models
    ]
    leads = [
        [f"{label(models[0])} − {label(other)}"]
        + [_difference(found.get((difference_name(models[0], other), m, OVERALL))) for m in metrics]
        for other in models[1:]
    ]
    header = ["", *map(heading, metrics)]
    return (
        plot
        + report.table(header, rows)
        + report.paragraph("Differences, example by example:", css="note")
        + report.table(header, leads)
    )


def slice_table(found: Table, models: Sequence[str], metric: str) -> markupsafe.Markup:
    """Return one metric by slice; the first model, the candidate, with its intervals."""
    rows = []
    for name in sorted({s for _, m, s in found if m == metric and s != OVERALL}):
        own = found[models[0], metric, name]
        others = [found[model, metric, name].value for model in models[1:]]
        rows.append([name.replace("=", ": "), own.examples, with_interval(own), *others])
    return report.table(["slice", "examples", *map(label, models)], rows)


def heading(metric: str) -> str:
    """Return a metric's name as the head of a column."""
    return {"log_loss": "log loss", "calibration": "calibration"}.get(metric, metric.upper())


def with_interval(one: Measurement) -> str:
    """Return a value with its confidence interval, when it has one that says something."""
    # Where every example is worth the same, the samples do not differ and say nothing of chance.
    if not math.isfinite(one.low) or one.low == one.high:
        return f"{one.value:.4f}"
    return _on_one_line(f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})")


def _difference(one: Measurement | None) -> markupsafe.Markup | str:
    if one is None:
        return "–"
    text = f"{one.value:+.4f}"
    if not math.isfinite(one.low):
        return text
    text = _on_one_line(f"{text} ({one.low:+.4f} to {one.high:+.4f})")
    if one.low <= 0 <= one.high:
        return text
    return report.verdict(text, good=(one.value > 0) != (one.metric in LOWER_IS_BETTER))


def _on_one_line(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")
