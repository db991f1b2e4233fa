"""What a soak found, and whether it is good enough; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.soak.load import Failure, Outcome, Requests
from benchmarks.soak.memory import LIMIT_MB, LIMIT_SHARE, Curve, Growth
from serving.platform.traffic import bucket


@dataclass(frozen=True)
class Phase:
    """A span of the run; `constant` where nothing but the load happens."""

    name: str
    start_s: float
    end_s: float
    constant: bool

    def has(self, failure: Failure) -> bool:
        """Return whether a failed request was sent in it."""
        return self.start_s <= failure.began_s < self.end_s


@dataclass(frozen=True)
class BadCanary:
    """A revision that is meant to fail, and its share of the users."""

    revision: str
    percent: int

    def may_fail(self, failure: Failure) -> bool:
        """Return whether it answered, and answered a user of its share."""
        return (
            failure.outcome == Outcome("500", self.revision)
            and bucket(failure.user, salt=self.revision) * 100 < self.percent
        )


@dataclass(frozen=True)
class Soak:
    """All that was seen.

    Attributes:
        phases: In order.
        requests: What the clients sent.
        failures: Those without recommendations.
        good: The revisions that were stable, in order.
        failing: The canary whose model fails for some users.
        dying: The canary whose process was killed.
        routed: By revision, the router's count by status code of the users' requests.
        curves: Memory by process.
        warm_up_s: How long after its first user a process may grow.
        load_cpu_share: Part of one core the clients used.
    """

    phases: Sequence[Phase]
    requests: Requests
    failures: Sequence[Failure]
    good: Sequence[str]
    failing: BadCanary
    dying: BadCanary
    routed: Mapping[str, Mapping[int, int]]
    curves: Mapping[str, Curve]
    warm_up_s: float
    load_cpu_share: float

    def unexcused(self) -> list[Failure]:
        """Return the failures outside the bad canary's share."""
        return [failure for failure in self.failures if not self.failing.may_fail(failure)]

    def growths(self) -> dict[str, Growth]:
        """Return what the memory of each process did that served long enough to say so."""
        spans = [(phase.start_s, phase.end_s) for phase in self.phases if phase.constant]
        found = {
            name: curve.growth(spans, warm_up_s=self.warm_up_s)
            for name, curve in self.curves.items()
        }
        return {name: growth for name, growth in found.items() if growth is not None}


@dataclass(frozen=True)
class Verdict:
    """One thing that must hold, what was found, and whether it does."""

    claim: str
    found: str
    good: bool


def judge(soak: Soak) -> list[Verdict]:
    """Return everything that must hold."""
    sent, unexcused = len(soak.requests.began_s), len(soak.unexcused())
    routed = sum(sum(codes.values()) for codes in soak.routed.values())
    excused = len(soak.failures) - unexcused
    cut_off = soak.routed.get(soak.dying.revision, {}).get(503, 0)
    expected = {soak.failing.revision: {200, 500}, soak.dying.revision: {200, 503}}
    lost = sum(
        requests
        for revision, codes in soak.routed.items()
        for code, requests in codes.items()
        if code not in expected.get(revision, {200})
    )
    verdicts = [
        Verdict(
            "no request failed outside the bad canary's share",
            f"{unexcused:,} of {sent:,}",
            sent > 0 and unexcused == 0,
        ),
        Verdict("the router counted every request once", f"{routed:,} of {sent:,}", routed == sent),
        Verdict("no request was lost on its way and asked again", f"{lost:,}", lost == 0),
        # Without these two the run would not have tried what it is for.
        Verdict("the failing canary failed some of its users", f"{excused:,}", excused > 0),
        Verdict("the killed canary left requests to the stable", f"{cut_off:,}", cut_off > 0),
    ]
    return [*verdicts, *_judge_memory(soak.growths(), ("router", *soak.good))]


def _judge_memory(growths: Mapping[str, Growth], names: Sequence[str]) -> list[Verdict]:
    limit = f"less than {100 * LIMIT_SHARE:.0f} % and {LIMIT_MB:.0f} MB"
    verdicts = []
    for name in names:
        growth = growths.get(name)
        found = f"{growth.grown_mb:+.1f} MB" if growth else "looked at too briefly"
        good = growth is not None and growth.flat
        verdicts.append(Verdict(f"{name} grew by {limit}", found, good))
    return verdicts
