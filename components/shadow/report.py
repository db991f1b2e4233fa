"""The replay as a page for people."""

from collections import Counter
from pathlib import Path

from markupsafe import Markup

from components.release import Candidate
from components.report import bar_plot, paragraph, table, write_page
from components.shadow.comparison import Comparison, Measured
from components.shadow.settings import ShadowSettings


def write_report(
    path: Path,
    candidate: Candidate,
    found: Comparison,
    *,
    settings: ShadowSettings,
    objection: str | None,
) -> None:
    """Write the page.

    Args:
        path: HTML file.
        candidate: What was on trial.
        found: The figures.
        settings: What was asked for.
        objection: Why the candidate was taken away; None when it goes on.
    """
    verdict = objection or "nothing in the replay speaks against it"
    sections = [
        ("Verdict", paragraph(f"{verdict[0].upper()}{verdict[1:]}.", css=_css(objection))),
        ("Answers", _answers(found)),
        ("Agreement with the model in service", _agreement(found)),
        ("What was asked for", _asked(settings)),
    ]
    asked = f"{found.candidate.requests:,} requests"
    write_page(
        path,
        title=f"Shadow of {candidate.service} version {candidate.version}",
        lead=f"{candidate.revision} answered {asked} that no user sent.",
        sections=sections,
    )


def write_skipped(path: Path, reason: str) -> None:
    """Write the page of a step that had nothing to do."""
    sections = [("Verdict", paragraph(f"Nothing was replayed: {reason}."))]
    write_page(path, title="Shadow", lead="Left out", sections=sections)


def _css(objection: str | None) -> str:
    return "good" if objection is None else "bad"


def _answers(found: Comparison) -> Markup:
    header = ("revision", "requests", "failed", "p50, ms", "p95, ms", "p99, ms")
    rows = [("candidate", *_cells(found.candidate))]
    if found.stable is not None:
        rows.append(("stable", *_cells(found.stable)))
    return table(header, rows)


def _cells(one: Measured) -> tuple[object, ...]:
    return one.requests, one.failed, one.p50_ms, one.p95_ms, one.p99_ms


def _agreement(found: Comparison) -> Markup:
    if found.mean_overlap is None or found.average_overlap is None:
        return paragraph("No request was answered by both; on a first release there is no other.")
    counts = Counter(min(int(share * 10), 9) for share in found.overlap)
    labels = [f"{10 * tenth} to {10 * tenth + 10} %" for tenth in range(10)]
    bars = {label: float(counts[tenth]) for tenth, label in enumerate(labels)}
    text = (
        f"On average {found.mean_overlap:.1%} of the items recommended are the same, and "
        f"{found.average_overlap:.1%} when the top of the list counts more (average overlap)."
    )
    note = "A better model recommends other things; a list with nothing in common asks for a look."
    plot = bar_plot(bars, x_label="requests, by the share of items both recommend")
    return paragraph(text) + plot + paragraph(note, css="note")


def _asked(settings: ShadowSettings) -> Markup:
    source = settings.requests_uri or "held-out users of the test window"
    latency = (
        f"{settings.max_median_ratio:g} × the stable's, or {settings.latency_floor_ms:g} ms more"
    )
    rows = [
        ("requests from", source),
        ("failed at most", f"{settings.max_error_rate:.1%}"),
        ("median at most", latency),
        ("mean overlap at least", f"{settings.min_overlap:g}"),
    ]
    return table(("setting", "value"), rows)
