"""The rollout's page: what each step saw, and why it ended as it did."""

from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup
from scipy.stats import binomtest

from components.report import bar_plot, paragraph, table, verdict, write_page
from components.rollout.outcome import Measured, Outcome, StepRecord
from components.rollout.policy import RolloutPolicy

_DONE = {
    "advance": "advanced", "promote": "promoted", "roll_back": "rolled back", "hold": "held",
    "fail": "failed",
}  # fmt: skip
_FEW_ANSWERS = 30
_RESULT = {"promoted": "Promoted", "rolled_back": "Rolled back", "failed": "Still on trial"}


def write_report(path: Path, outcome: Outcome, *, policy: RolloutPolicy) -> None:
    """Write the page.

    Args:
        path: HTML file.
        outcome: How the rollout ended.
        policy: What it was judged by.
    """
    good = outcome.outcome == "promoted"
    candidate = outcome.candidate
    against = f"against {outcome.stable_revision}" if outcome.stable_revision else "first release"
    if outcome.stable_revision == candidate.revision:
        against = "stable before the rollout began"
    sections = [
        (
            "Verdict",
            paragraph(
                f"{_RESULT[outcome.outcome]}: {outcome.reason}.",
                css="good" if good else "bad",
            )
            + paragraph(f"Version {candidate.version}, {candidate.package_uri}", css="note"),
        ),
    ]
    if outcome.steps:
        sections += [
            ("Steps", _steps(outcome)),
            *_business(outcome, policy),
            ("Evidence", _checks(outcome)),
            ("p95 latency", bar_plot(_p95(outcome.steps), x_label="p95 latency, ms")),
        ]
    sections.append(("Policy", table(("setting", "value"), _settings(policy))))
    write_page(
        path,
        title=f"Rollout of {candidate.service} version {candidate.version}",
        lead=f"{candidate.revision}, {against}: {outcome.outcome.replace('_', ' ')}",
        sections=sections,
    )


def _steps(outcome: Outcome) -> Markup:
    header = (
        "canary's share", "time, s", "revision", "requests", "5xx", "error rate",
        "p50, ms", "p95, ms", "p99, ms", "decision",
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for step in outcome.steps:
        good = step.action in ("advance", "promote")
        decision = verdict(f"{_DONE[step.action]}: {step.reason}", good=good)
        share = f"{step.traffic_percent} %"
        rows.append((share, round(step.elapsed_s, 1), "canary", *_measured(step.canary), decision))
        if outcome.stable_revision:
            rows.append((share, round(step.elapsed_s, 1), "stable", *_measured(step.stable), ""))
    return table(header, rows)


def _measured(found: Measured) -> tuple[object, ...]:
    rate = f"{100 * found.error_rate:.2f} %"
    return found.requests, found.errors, rate, found.p50_ms, found.p95_ms, found.p99_ms


def _business(outcome: Outcome, policy: RolloutPolicy) -> list[tuple[str, Markup]]:
    """Return what the shop reported, where the policy asks for it."""
    if not policy.business_metric:
        return []
    name, rows = policy.business_metric, list[tuple[object, ...]]()
    rates, intervals = dict[str, float](), dict[str, tuple[float, float]]()
    for step in outcome.steps:
        share = f"{step.traffic_percent} %"
        for role, measured in (("canary", step.canary), ("stable", step.stable)):
            found = measured.feedback
            if found is None:
                rows.append((share, role, None, None, None))
                continue
            rows.append((share, role, found.trials, found.successes, f"{100 * found.rate:.2f} %"))
            # A share of fewer is no share: its bar would be as long by chance.
            if 0 <= found.successes <= found.trials >= _FEW_ANSWERS:
                rates[f"{share} {role}"] = 100 * found.rate
                limits = binomtest(found.successes, found.trials).proportion_ci(method="wilson")
                intervals[f"{share} {role}"] = (100 * limits.low, 100 * limits.high)
    header = ("canary's share", "revision", "answers reported on", "successes", name)
    content = table(header, rows)
    if rates:
        label = f"{name}, % of the answers reported on, with 95 % intervals (Wilson)"
        content += bar_plot(rates, x_label=label, intervals=intervals)
    return [(name.capitalize(), content)]


def _checks(outcome: Outcome) -> Markup:
    rows = [
        (
            f"{step.traffic_percent} %",
            check.name,
            check.seen,
            "too few for a test" if check.value is None else _figure(check.value),
            _figure(check.bound),
            verdict(check.verdict, good=check.verdict == "passed"),
        )
        for step in outcome.steps
        for check in step.checks
    ]
    return table(("canary's share", "check", "measured", "found", "limit", "verdict"), rows)


def _figure(value: float) -> str:
    """Return three significant digits, without an exponent for large numbers."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _p95(steps: tuple[StepRecord, ...]) -> dict[str, float]:
    return {
        f"{step.traffic_percent} % {role}": measured.p95_ms
        for step in steps
        for role, measured in (("canary", step.canary), ("stable", step.stable))
        if measured.p95_ms is not None
    }


def _settings(policy: RolloutPolicy) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), str(value)) for name, value in asdict(policy).items()]
