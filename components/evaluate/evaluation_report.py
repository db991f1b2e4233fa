"""The evaluation as a page for the people who own the shop."""

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import markupsafe
import polars as pl

from components import report
from components.evaluate.analysis import Measurement
from components.evaluate.examples import Examples
from components.evaluate.gate import OVERALL, Blessing
from components.evaluate.importance import Importance
from components.evaluate.prediction_report import prediction_sections
from components.evaluate.predictions import Predictions
from components.evaluate.rank_metrics import metric_names
from components.evaluate.recommendations import Recommendations
from components.evaluate.tables import NAMES, Table, comparison, slice_table
from components.splits import scan_catalogue

_SHOWN_USERS = 5
_SHOWN_ITEMS = 5


@dataclasses.dataclass(frozen=True)
class Findings:
    """Everything the page shows."""

    blessing: Blessing
    measurements: tuple[Measurement, ...]
    examples: Examples
    recommendations: Recommendations
    k: int
    importance: tuple[Importance, ...]
    predictions: Predictions | None = None


def write_report(path: Path, findings: Findings, *, catalogue_dir: Path) -> None:
    """Write the page.

    Args:
        path: File to write.
        findings: What was measured and decided.
        catalogue_dir: For the titles of the items shown.
    """
    found = {(m.model, m.metric, m.slice): m for m in findings.measurements}
    models = [name for name in NAMES if (name, "mrr", OVERALL) in found]
    blessed = findings.blessing.blessed
    lead = "May be published: " if blessed else "Refused: "
    report.write_page(
        path,
        title="Is the new model good enough?",
        lead=lead + findings.blessing.reason,
        sections=[
            ("The gate", _gate(findings.blessing)),
            ("Against the others", _comparison(found, models, findings)),
            ("Where it is strong and weak", _slices(found, models, findings.k)),
            *prediction_sections(findings.predictions),
            ("What it rests on", _importance(findings)),
            ("What it recommends", _lists(findings, catalogue_dir)),
            ("How to read this", _how_to_read(findings)),
        ],
    )


def _gate(blessing: Blessing) -> markupsafe.Markup:
    rows = [
        (
            one.sentence(),
            report.verdict(one.verdict, good=one.verdict in ("passed", "no live model")),
        )
        for one in blessing.thresholds
    ]
    return report.table(["condition", "verdict"], rows)


def _comparison(found: Table, models: Sequence[str], findings: Findings) -> markupsafe.Markup:
    names = metric_names(findings.k)
    ndcg = names[1]
    best = max(models, key=lambda model: found[model, ndcg, OVERALL].value)
    live = (
        "" if "live" in models else " No model is in service yet, so there is none to compare with."
    )
    words = f"Highest {ndcg.upper()}: {NAMES[best]}.{live}"
    return report.paragraph(words) + comparison(found, models, names, shown=ndcg)


def _slices(found: Table, models: Sequence[str], k: int) -> markupsafe.Markup:
    ndcg = metric_names(k)[1]
    words = f"{ndcg.upper()} by kind of item and household. Few examples mean wide intervals."
    return report.paragraph(words) + slice_table(found, models, ndcg)


def _importance(findings: Findings) -> markupsafe.Markup:
    ndcg = metric_names(findings.k)[1].upper()
    parts = findings.importance
    words = (
        f"How far {ndcg} falls when the model is not told a part of the query, on "
        f"{parts[0].examples:,} of the examples: nothing falls where a part is not used. For the "
        "order, the history is shuffled."
    )
    plot = report.bar_plot(
        {one.part: one.drop for one in parts},
        x_label=f"fall of {ndcg}, with 95 % confidence intervals over households",
        intervals={one.part: (one.low, one.high) for one in parts if math.isfinite(one.low)},
    )
    return report.paragraph(words) + plot


def _lists(findings: Findings, catalogue_dir: Path) -> markupsafe.Markup:
    titles = _titles(catalogue_dir)
    lists = findings.recommendations
    examples = findings.examples.frame
    bought = examples.group_by("user", maintain_order=True).agg("item", pl.col("history").first())
    shown = bought.join(lists.frame, on="user", maintain_order="left")
    step = max(1, shown.height // _SHOWN_USERS)
    rows = [
        [
            user,
            _named([item for item in history if item][-_SHOWN_ITEMS:], titles),
            _named(recommended[:_SHOWN_ITEMS], titles, marked=set(items)),
            _named(items[:_SHOWN_ITEMS], titles, marked=set(recommended)),
        ]
        for user, items, history, recommended in shown.gather_every(step)
        .head(_SHOWN_USERS)
        .iter_rows()
    ]
    coverage = (
        f"{lists.coverage:.1%} of the {lists.indexed_items:,} items the model can recommend are "
        f"in at least one of the top {findings.k} lists of {lists.frame.height:,} households. More "
        "households would show more items; use the share to compare models on equal households."
    )
    header = ["household", "last bought", "recommended, best first", "then bought (sampled)"]
    note = "In green: recommended and then bought."
    words = report.paragraph(coverage) + report.paragraph(note, css="note")
    return words + report.table(header, rows)


def _how_to_read(findings: Findings) -> markupsafe.Markup:
    examples = findings.examples
    k = findings.k
    texts = [
        f"Each of the {examples.frame.height:,} examples is a household and an item it bought "
        f"in the test window, after everything the model was trained on "
        f"({examples.left_out:,} more were left out by sampling). Every model ranks all items it "
        "knows and we look where that item stands. Buying the same thing again counts like "
        "any other purchase.",
        f"HR@{k}: how often the item is among the first {k}. NDCG@{k}: the same, worth more the "
        "nearer the top. MRR: one divided by the place, on average. All are between 0 and 1.",
        "An interval holds the true value in about 95 of 100 such evaluations; it is made by "
        "leaving out a twentieth of the households at a time (the jackknife). A difference "
        "whose interval holds 0 may be chance.",
        "Item popularity: head items make the first third of train events, middle the second, tail "
        "the rest. Household activity: thirds of the households by train events. New means not in "
        "train.",
        "The simple rivals know the same past: most popular items; the household's own most "
        "frequent items, then popular ones; items bought by the people who bought what the "
        "household bought.",
    ]
    return markupsafe.Markup("").join(report.paragraph(text) for text in texts)


def _titles(catalogue_dir: Path) -> Mapping[str, str]:
    catalogue = scan_catalogue(catalogue_dir)
    if "title" not in catalogue.collect_schema():
        return {}
    titled = catalogue.select("item", pl.col("title").cast(pl.String)).drop_nulls().collect()
    return dict(titled.iter_rows())


def _named(
    items: Sequence[str], titles: Mapping[str, str], *, marked: Set[str] = frozenset()
) -> markupsafe.Markup:
    lines = [
        report.verdict(titles.get(item, item), good=True)
        if item in marked
        else markupsafe.escape(titles.get(item, item))
        for item in items
    ]
    return markupsafe.Markup("<br>").join(lines) if lines else markupsafe.escape("nothing")
