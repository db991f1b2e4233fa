"""Showing what a soak found: tables in the terminal, curves on a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.soak.load import Requests
from benchmarks.soak.verdict import Phase, Soak, Verdict
from components.report import line_plot, paragraph, table, verdict, write_page

_PHASES = ("phase", "s", "requests", "failed", "outside", "p50", "p95", "p99")
_ANSWERS = ("phase", "answered by", "status", "requests")
_MEMORY = ("process", "first MB", "last MB", "growth MB", "MB in 10 min")
_VERDICTS = ("must hold", "found")
_BIN_S, _SHOWN_FAILURES = 5.0, 10


def print_tables(console: Console, soak: Soak, verdicts: Sequence[Verdict]) -> None:
    """Print phases, answers, memory and verdicts."""
    tables = (
        ("Requests by phase, latency in ms", _PHASES, phase_rows(soak)),
        ("Answers", _ANSWERS, answer_rows(soak)),
        ("Resident memory under constant load", _MEMORY, memory_rows(soak)),
    )
    for title, header, rows in tables:
        shown = Table(title=title, title_justify="left", title_style="")
        for number, name in enumerate(header):
            shown.add_column(name, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*(cell if isinstance(cell, str) else f"{cell:,}" for cell in row))
        console.print(shown)
    for one in soak.unexcused()[:_SHOWN_FAILURES]:
        what, who = one.outcome.code, one.outcome.revision or "nobody"
        line = f"[red]failed[/] at {one.began_s:.1f} s, user {one.user}: {what} by {who}"
        console.print(line, highlight=False)
    for checked in verdicts:
        mark = "[green]✓[/]" if checked.good else "[red]✗[/]"
        console.print(f"{mark} {checked.claim}: {checked.found}", highlight=False)
    console.print(f"the clients used {soak.load_cpu_share:.0%} of a core", highlight=False)


def write_report(path: Path, soak: Soak, verdicts: Sequence[Verdict]) -> None:
    """Write the page.

    Args:
        path: File to write.
        soak: What was found.
        verdicts: What must hold.
    """
    good = all(one.good for one in verdicts)
    checked = [(one.claim, verdict(one.found, good=one.good)) for one in verdicts]
    minutes = soak.phases[-1].end_s / 60
    memory = {
        name: (
            [second / 60 for second in curve.seconds],
            [mb - curve.rss_mb[0] for mb in curve.rss_mb],
        )
        for name, curve in soak.curves.items()
    }
    rate, latency = rate_and_latency(soak.requests)
    x_label = "minutes"
    lead = f"{len(soak.requests.began_s):,} requests in {minutes:.1f} minutes: " + (
        "everything that must hold does." if good else "something that must hold does not."
    )
    note = "Failed counts the bad canary's too; outside are those that are not in its share."
    write_page(
        path,
        title="Releases under load",
        lead=lead,
        sections=[
            ("What must hold", table(_VERDICTS, checked)),
            (
                "By phase, latency in ms",
                table(_PHASES, phase_rows(soak)) + paragraph(note, css="note"),
            ),
            ("Answers", table(_ANSWERS, answer_rows(soak))),
            ("Requests", line_plot(rate, x_label=x_label, y_label="requests/s")),
            ("Latency", line_plot(latency, x_label=x_label, y_label="ms, in spans of 5 s")),
            ("Memory", table(_MEMORY, memory_rows(soak))),
            ("Memory over time", line_plot(memory, x_label=x_label, y_label="MB over its first")),
        ],
    )


def phase_rows(soak: Soak) -> list[tuple[object, ...]]:
    """Return a row per phase and one for the whole run."""
    end_s = soak.phases[-1].end_s
    unexcused = soak.unexcused()
    rows: list[tuple[object, ...]] = []
    for phase in (*soak.phases, Phase("all", 0.0, end_s, constant=False)):
        latency_ms = soak.requests.between(phase.start_s, phase.end_s).latency_ms
        quantiles = np.percentile(latency_ms, (50, 95, 99)) if len(latency_ms) else (np.nan,) * 3
        failed, outside = (sum(map(phase.has, all_)) for all_ in (soak.failures, unexcused))
        seconds, *ms = (round(float(x), 1) for x in (phase.end_s - phase.start_s, *quantiles))
        rows.append((phase.name, seconds, len(latency_ms), failed, outside, *ms))
    return rows


def answer_rows(soak: Soak) -> list[tuple[object, ...]]:
    """Return how many answers each revision gave in each phase, by status."""
    roles = {soak.failing.revision: " (failing)", soak.dying.revision: " (dying)"}
    return [
        (phase.name, what.revision + roles.get(what.revision, "") or "nobody", what.code, n)
        for phase in soak.phases
        for what, n in soak.requests.between(phase.start_s, phase.end_s).by_outcome().items()
    ]


def memory_rows(soak: Soak) -> list[tuple[object, ...]]:
    """Return first and last third and the slope of each process that was judged."""
    return [
        (name, *(round(mb, 1) for mb in (g.first_mb, g.last_mb, g.grown_mb, g.slope_mb)))
        for name, g in sorted(soak.growths().items())
    ]


def rate_and_latency(
    requests: Requests,
) -> tuple[dict[str, tuple[list[float], list[float]]], ...]:
    """Return requests/s, and the latency's quantiles, in bins of some seconds."""
    order = np.argsort(requests.began_s)
    began, latency = requests.began_s[order], requests.latency_ms[order]
    edges = np.arange(0, began[-1], _BIN_S)
    bins = np.split(latency, np.searchsorted(began, edges[1:]))[:-1]  # the last is not a whole one
    minutes = ((edges[:-1] + _BIN_S / 2) / 60).tolist()
    rate = {"all": (minutes, [len(one) / _BIN_S for one in bins])}
    quantiles = {
        f"p{q}": (minutes, [float(np.percentile(one, q)) if len(one) else 0.0 for one in bins])
        for q in (50, 95, 99)
    }
    return rate, quantiles
