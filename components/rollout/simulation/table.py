"""The table: kinds of canaries against ways to judge them."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.table import Table

from components.rollout.policy import RolloutPolicy
from components.rollout.simulation.judge import Judge
from components.rollout.simulation.run import Found, simulate
from components.rollout.simulation.scenario import SCENARIOS, Scenario
from components.rollout.simulation.since_step import SinceStep
from components.rollout.simulation.thresholds import Argo, Flagger, TextbookTests

JUDGES: dict[str, Callable[[RolloutPolicy, int], Judge]] = {
    "Shopflow": SinceStep,
    "textbook tests at every look": TextbookTests,
    "Argo Rollouts' example": lambda _, rollouts: Argo(rollouts),
    "Flagger's example": lambda _, rollouts: Flagger(rollouts),
}
Row = tuple[Scenario, tuple[Found, ...]]


def rows(
    policy: RolloutPolicy,
    *,
    requests_per_s: float,
    rollouts: int,
    seed: int,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> Iterator[Row]:
    """Simulate every scenario under every judge, in the order of `JUDGES`.

    Args:
        policy: Ours; the others share its steps.
        requests_per_s: Requests of all users.
        rollouts: How many of each.
        seed: Of everything random.
        scenarios: The kinds of canaries.
    """
    for scenario in scenarios:
        found = (
            simulate(
                make(policy, rollouts),
                scenario,
                steps=policy.steps,
                requests_per_s=requests_per_s,
                rollouts=rollouts,
                seed=seed,
            )
            for make in JUDGES.values()
        )
        yield scenario, tuple(found)


def table(found: Iterable[Row], *, title: str) -> Table:
    """Return the table: share rolled back, and the median of the canary's requests until then."""
    shown = Table("canary", title=title, title_justify="left")
    for name in JUDGES:
        shown.add_column(name, justify="right")
    for scenario, by_judge in found:
        shown.add_row(scenario.name, *(_cell(one) for one in by_judge))
    return shown


def _cell(found: Found) -> str:
    after = "" if found.requests is None else f" after {found.requests:,.0f}"
    return f"{100 * found.rolled_back:.2f} %{after}"
