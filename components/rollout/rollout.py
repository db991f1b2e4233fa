"""The loop that feeds `decide` and obeys it."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress, TaskID

from components.errors import InputError
from components.release import Candidate, read_candidate
from components.rollout.clock import Clock, SystemClock
from components.rollout.decision import Action, Observation, RolloutState, decide
from components.rollout.outcome import Outcome, Result, StepRecord
from components.rollout.policy import RolloutPolicy
from components.rollout.report import write_report
from components.rollout.window import Window, window_between
from serving.platform import (
    InferencePlatform,
    PlatformError,
    RevisionMetrics,
    ServiceStatus,
    connect,
)

_log = logging.getLogger(__name__)


def roll_out(
    *,
    release_path: Path,
    policy: RolloutPolicy,
    outcome_path: Path,
    report_path: Path,
    platform: InferencePlatform | None = None,
    clock: Clock | None = None,
) -> Outcome:
    """Move the users to a candidate step by step; promote it or roll it back.

    Safe to repeat: a rollout that died is taken up at the step it was in, with new evidence; one
    that had ended only writes its outcome again. A step that fails for want of evidence leaves the
    split as it is.

    Args:
        release_path: The deploy step's release.
        policy: What the candidate must show.
        outcome_path: JSON file for the outcome and its evidence.
        report_path: HTML page for people.
        platform: Where the service runs; by default the one the release names.
        clock: The time; by default the machine's.

    Raises:
        InputError: If the candidate of the release is neither on trial nor known to have ended,
            or the platform cannot do what is asked.
    """
    candidate = read_candidate(release_path)
    try:
        platform = platform or connect(candidate.platform, namespace=candidate.namespace)
        status = platform.status(candidate.service)
        outcome = (
            _already_ended(candidate, status)
            or _Rollout(
                platform, candidate, status, policy=policy, clock=clock or SystemClock()
            ).run()
        )
    except PlatformError as error:
        raise InputError(candidate.service, str(error), "a platform that obeys") from error
    outcome.write(outcome_path, policy=policy)
    write_report(report_path, outcome, policy=policy)
    return outcome


def _already_ended(candidate: Candidate, status: ServiceStatus) -> Outcome | None:
    if status.stable is not None and status.stable.name == candidate.revision:
        return Outcome("promoted", "it is stable already", candidate, status.stable.name)
    if status.canary is not None and status.canary.name == candidate.revision:
        return None
    stable = status.stable.name if status.stable else None
    if status.last_rollback is not None and status.last_rollback.revision == candidate.revision:
        return Outcome("rolled_back", status.last_rollback.reason, candidate, stable)
    found = f"canary {status.canary.name}" if status.canary else "no canary"
    raise InputError(candidate.service, found, f"{candidate.revision} of the release")


class _Rollout:
    def __init__(
        self,
        platform: InferencePlatform,
        candidate: Candidate,
        status: ServiceStatus,
        *,
        policy: RolloutPolicy,
        clock: Clock,
    ) -> None:
        self._platform, self._candidate = platform, candidate
        self._policy, self._clock = policy, clock
        self._stable = status.stable.name if status.stable else None
        self._metrics: Mapping[str, RevisionMetrics] | None = None  # not read yet
        self._read()
        left_at = status.canary.traffic_percent if status.canary else 0
        steps = policy.steps
        # Until a step has ended, the baseline is all that is known of the stable.
        self._seen = Window()
        self._state = RolloutState(
            step=steps.index(left_at) if self._stable and left_at in steps else 0,
            has_stable=self._stable is not None,
            baseline=window_between(None, _counters(self._metrics, self._stable)),
        )

    def run(self) -> Outcome:
        """Go through the steps until the candidate is promoted, rolled back, or out of time.

        Or until somebody else ends its trial: that stands, and is the outcome.
        """
        records: list[StepRecord] = []
        try:
            return self._run(records)
        except PlatformError:
            ended = self._ended()
            if ended is None:
                raise
            _log.warning("rollout: %s was ended by somebody else", self._candidate.revision)
            return replace(ended, steps=tuple(records))

    def _run(self, records: list[StepRecord]) -> Outcome:
        service = self._candidate.service
        with Progress(transient=True) as progress:
            while True:
                # A first release has nothing to split with: its only step is all the users.
                percent = self._policy.steps[self._state.step] if self._stable else 100
                task = progress.add_task(
                    f"{service}: {percent} % to the canary", total=self._policy.min_requests
                )
                observation, action = self._step(percent, progress, task)
                progress.remove_task(task)
                records.append(StepRecord.of(percent, observation, action))
                self._log_step(records[-1])
                if action.kind == "advance":
                    self._seen = self._seen.plus(observation.stable)
                    self._state = replace(
                        self._state,
                        step=self._state.step + 1,
                        baseline=self._seen if self._seen.requests else self._state.baseline,
                    )
                    continue
                return self._end(action, tuple(records))

    def _end(self, action: Action, records: tuple[StepRecord, ...]) -> Outcome:
        service = self._candidate.service
        result: Result = "failed"
        if action.kind == "promote":
            self._platform.promote(service, reason=action.reason)
            result = "promoted"
        elif action.kind == "roll_back":
            self._platform.roll_back(service, reason=action.reason)
            result = "rolled_back"
        return Outcome(result, action.reason, self._candidate, self._stable, records)

    def _step(self, percent: int, progress: Progress, task: TaskID) -> tuple[Observation, Action]:
        self._platform.set_traffic(self._candidate.service, percent)
        self._read()
        start, began_s = self._metrics, self._clock.now_s()
        while True:
            self._clock.sleep(self._policy.poll_s)
            self._read()
            if self._ended() is not None:
                raise PlatformError(f"{self._candidate.revision} is on trial no more")
            # Counters that were never read before hold what earlier steps and days counted.
            start = self._metrics if start is None else start
            canary, stable = (
                window_between(_counters(start, name), _counters(self._metrics, name))
                for name in (self._candidate.revision, self._stable)
            )
            observation = Observation(self._clock.now_s() - began_s, canary, stable)
            progress.update(task, completed=canary.requests)
            action = decide(self._state, observation, self._policy)
            if action.kind != "hold":
                return observation, action

    def _ended(self) -> Outcome | None:
        """Return how the trial ended, if it did; unknown while the platform does not answer."""
        try:
            return _already_ended(self._candidate, self._platform.status(self._candidate.service))
        except PlatformError as error:
            _log.warning("rollout: %s", error)
            return None

    def _read(self) -> None:
        """Read the counters; when that fails the last ones stay, which looks like no traffic."""
        try:
            self._metrics = self._platform.metrics(self._candidate.service)
        except PlatformError as error:
            _log.warning("rollout: %s", error)

    def _log_step(self, record: StepRecord) -> None:
        _log.info(
            "rollout: %s at %d %%: canary %d requests, %d errors, p95 %s ms; "
            "stable %d requests, %d errors, p95 %s ms: %s, %s",
            self._candidate.revision,
            record.traffic_percent,
            record.canary.requests,
            record.canary.errors,
            _rounded(record.canary.p95_ms),
            record.stable.requests,
            record.stable.errors,
            _rounded(record.stable.p95_ms),
            record.action,
            record.reason,
        )


def _counters(
    metrics: Mapping[str, RevisionMetrics] | None, revision: str | None
) -> RevisionMetrics | None:
    return metrics.get(revision or "") if metrics else None


def _rounded(value_ms: float | None) -> str:
    return "–" if value_ms is None else f"{value_ms:.1f}"
