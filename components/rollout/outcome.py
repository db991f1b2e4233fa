"""How a rollout ended, and the evidence for it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from components.errors import InputError
from components.release import Candidate
from components.rollout.checks import Check
from components.rollout.decision import Action, Kind, Observation
from components.rollout.policy import RolloutPolicy
from components.rollout.window import Feedback, Window

Result = Literal["promoted", "rolled_back", "failed"]


class RolledBack(InputError):
    """The candidate was taken away; the evidence has been written."""


class Undecided(InputError):
    """A step ran out of time and the policy wants a person; the evidence has been written."""


@dataclass(frozen=True)
class Measured:
    """One revision's requests in a step; latencies in ms, None without data."""

    requests: int
    errors: int
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    feedback: Feedback | None = None

    @classmethod
    def of(cls, window: Window) -> "Measured":
        """Return the summary of a window."""
        p50_ms, p95_ms, p99_ms = (window.quantile_ms(q) for q in (0.5, 0.95, 0.99))
        return cls(
            requests=window.requests,
            errors=window.errors,
            error_rate=window.error_rate,
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            p99_ms=p99_ms,
            feedback=window.feedback,
        )


@dataclass(frozen=True)
class StepRecord:
    """One step: the traffic, what was measured, and what was decided."""

    traffic_percent: int
    elapsed_s: float
    canary: Measured
    stable: Measured
    checks: tuple[Check, ...]
    action: Kind
    reason: str

    @classmethod
    def of(cls, percent: int, observation: Observation, action: Action) -> "StepRecord":
        """Return the record of a step that has ended."""
        return cls(
            percent,
            round(observation.elapsed_s, 3),
            Measured.of(observation.canary),
            Measured.of(observation.stable),
            action.checks,
            action.kind,
            action.reason,
        )


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended.

    Attributes:
        outcome: Whether the candidate is stable now, or gone, or still on trial (failed).
        reason: Why.
        candidate: What was on trial.
        stable_revision: The revision that was stable before; None on a first release.
        steps: What happened in each step.
    """

    outcome: Result
    reason: str
    candidate: Candidate
    stable_revision: str | None
    steps: tuple[StepRecord, ...] = ()

    def write(self, path: Path, *, policy: RolloutPolicy) -> None:
        """Write the outcome, its evidence and the policy it was judged by as JSON."""
        content: dict[str, Any] = asdict(self) | {"policy": asdict(policy)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def raise_if_undecided(self) -> None:
        """Make a step that ran out of time an error.

        Raises:
            Undecided: If the candidate is still on trial.
        """
        if self.outcome == "failed":
            name = f"{self.candidate.service} {self.candidate.revision}"
            raise Undecided(name, self.reason, "a decision by a person, or another rollout")

    def raise_if_rolled_back(self) -> None:
        """Make a roll-back an error, for pipelines that must not go on after one.

        Raises:
            RolledBack: If the candidate was rolled back.
        """
        if self.outcome == "rolled_back":
            name = f"{self.candidate.service} {self.candidate.revision}"
            raise RolledBack(name, f"a roll-back: {self.reason}", "a promotion")
