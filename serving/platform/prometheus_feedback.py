"""The shop's feedback by revision, as Prometheus has seen it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from serving.platform.counter_growth import CounterGrowth, Series
from serving.platform.feedback_profiles import FeedbackProfile
from serving.platform.interface import FeedbackCounts, PlatformError
from serving.platform.prometheus_api import LOOKBACK_S, OVERLAP_S, PrometheusApi

_log = logging.getLogger(__name__)
_Key = tuple[str, str, str]


@dataclass
class _Watch:
    """What is known of one revision's feedback."""

    read_at_s: float | None = None
    missed: bool = False
    growth: CounterGrowth = field(default_factory=CounterGrowth)


class PrometheusFeedback:
    """Counters of feedback; they grow only, and begin at the first look, as `PrometheusSource`'s.

    Feedback that cannot be read never keeps the requests from being read: a canary that fails must
    go also while nobody knows what is clicked. The failure is logged, and the last counts stand.
    """

    def __init__(
        self, api: PrometheusApi, profile: FeedbackProfile, *, now_s: Callable[[], float]
    ) -> None:
        """Prepare to ask.

        Args:
            api: Prometheus.
            profile: What to ask for.
            now_s: Seconds since some moment that does not change.
        """
        self._api, self._profile, self._now_s = api, profile, now_s
        self._watches: dict[_Key, _Watch] = {}

    def read(
        self, namespace: str, service: str, revision: str, *, late: bool = False
    ) -> FeedbackCounts | None:
        """Return a revision's counts; None while one of the two counters has no series.

        A counter that is not there is not zero: with a wrong template nothing would be clicked.

        Args:
            namespace: The service's namespace.
            service: Its name.
            revision: The revision's name.
            late: Whether an earlier look at the revision failed before it came to the feedback.
        """
        key = (namespace, service, revision)
        watch = self._watches.setdefault(key, _Watch(missed=late))
        selectors = self._profile.selectors(service, namespace=namespace, revision=revision)
        try:
            self._look(watch, selectors)
        except PlatformError as error:
            watch.missed = True
            _log.warning("feedback of %s: %s", revision, error)
        counts: dict[str, int] = {}
        for labels, count in watch.growth.items():
            counts[labels["le"]] = counts.get(labels["le"], 0) + count
        return FeedbackCounts(**counts) if len(counts) == 2 else None

    def _look(self, watch: _Watch, selectors: Mapping[str, str]) -> None:
        """Bring a watch up to date, or leave it alone when an answer is missing."""
        now_s = self._now_s()
        found: list[Series] = []
        for what, selector in selectors.items():
            if watch.read_at_s is None:
                series = self._api.latest(selector, window_s=LOOKBACK_S)
            else:
                window_s = now_s - watch.read_at_s + OVERLAP_S
                series = self._api.samples(selector, window_s=window_s)
            # Like two bounds of a histogram: a process that begins again does so with both.
            found += [replace(one, labels={**one.labels, "le": what}) for one in series]
        if watch.read_at_s is not None:
            found = _as_far_as_both(found)
        # Nobody has a reading to subtract when the first look failed.
        begins = watch.read_at_s is None and watch.missed
        (watch.growth.begin if begins else watch.growth.follow)(found)
        watch.read_at_s = now_s


def _as_far_as_both(found: Sequence[Series]) -> list[Series]:
    """Leave for the next look what only the counter that was asked for last has yet.

    A scrape between the two questions is in the second answer alone. Were it counted, a process
    that began again would have done so with one of its counters only.
    """
    ends: dict[frozenset[tuple[str, str]], float] = {}
    for one in found:
        whose = _process(one)
        ends[whose] = min(ends.get(whose, one.samples[-1][0]), one.samples[-1][0])
    return [
        replace(one, samples=[sample for sample in one.samples if sample[0] <= ends[_process(one)]])
        for one in found
    ]


def _process(series: Series) -> frozenset[tuple[str, str]]:
    return frozenset(label for label in series.labels.items() if label[0] != "le")
