"""What revisions did with their users' requests, as Prometheus has seen it."""

import itertools
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from serving.platform.counter_growth import CounterGrowth, Series
from serving.platform.feedback_profiles import FeedbackProfile
from serving.platform.interface import PlatformError, RevisionMetrics
from serving.platform.metric_profiles import MetricProfile
from serving.platform.prometheus_api import (
    LOOKBACK_S,
    OVERLAP_S,
    PrometheusApi,
    PrometheusSettings,
)
from serving.platform.prometheus_feedback import PrometheusFeedback
from serving.platform.promql import selector

_Key = tuple[str, str, str]
_Target = tuple[str, str, str]
_Look = Callable[[str], list[Series]]


@dataclass
class _Watch:
    """What is known of one revision."""

    read_at_s: float
    requests: CounterGrowth = field(default_factory=CounterGrowth)
    latency: CounterGrowth = field(default_factory=CounterGrowth)


class PrometheusSource:
    """Counters of requests and latencies by revision, from Prometheus.

    A revision's counters begin with what its processes have counted at the first look and grow
    only, whatever its pods do, so two readings can be subtracted. For that the raw samples since
    the last look are fetched and every series is followed by itself (`CounterGrowth`). PromQL's
    own `increase` is not used: it extrapolates to whole windows, so counts are not whole and a
    test on them believes in requests that never were; and it takes a series' first sample as its
    start, so the first error of every pod would be lost. A sum in PromQL would fall with every
    pod that goes.

    When the first look fails, the counters begin at zero at the next one: nobody has a reading to
    subtract then, and what was before must not pass for what happened since.

    A revision Prometheus has no requests of is missing from the answer, as it is with the wrong
    profile; it is never there with zeros. When scraping stops, the counters stand still: nothing
    new, so a rollout holds.

    One source is for one rollout: a new one begins again. A process whose scrapes had failed for
    more than an hour at the first look counts, when they come back, from its own start.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        profile: MetricProfile,
        *,
        feedback: FeedbackProfile | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            settings: Where Prometheus is.
            profile: Whose metrics to read.
            feedback: Where the shop's feedback is; None leaves it out.
            now_s: Seconds since some moment that does not change.
        """
        self._api, self._profile, self._now_s = PrometheusApi(settings), profile, now_s
        self._feedback = PrometheusFeedback(self._api, feedback, now_s=now_s) if feedback else None
        self._watches: dict[_Key, _Watch] = {}
        self._missed: set[_Key] = set()

    def read(
        self, service: str, *, namespace: str, revisions: Collection[str]
    ) -> Mapping[str, RevisionMetrics]:
        """Return the counters of a service's revisions by name; what has no data is missing.

        Args:
            service: Name of the service.
            namespace: Its namespace.
            revisions: Names of the revisions.

        Raises:
            PlatformError: If Prometheus does not answer, or what it says cannot be relied on;
                the next look makes up for it.
        """
        keys = {name: (namespace, service, name) for name in sorted(set(revisions))}
        new = [name for name, key in keys.items() if key not in self._watches]
        try:
            self._look(service, namespace, keys, new)
            found = {name: self._counters(name, self._watches[key]) for name, key in keys.items()}
        except PlatformError:
            for name in new:
                self._watches.pop(keys[name], None)
                self._missed.add(keys[name])
            raise
        found = {name: metrics for name, metrics in found.items() if metrics.requests}
        if self._feedback is None:
            return found
        return {
            name: replace(
                metrics, feedback=self._feedback.read(*keys[name], late=keys[name] in self._missed)
            )
            for name, metrics in found.items()
        }

    def _look(
        self, service: str, namespace: str, keys: Mapping[str, _Key], new: Collection[str]
    ) -> None:
        """Bring the watches up to date; all of them, or none when an answer is missing."""
        old = [name for name in keys if name not in new]
        now_s = self._now_s()
        ages_s = [now_s - self._watches[keys[name]].read_at_s for name in old]
        window_s = max(ages_s, default=0.0) + OVERLAP_S
        begun = self._fetch(
            service, namespace, new, look=lambda text: self._api.latest(text, window_s=LOOKBACK_S)
        )
        followed = self._fetch(
            service, namespace, old, look=lambda text: self._api.samples(text, window_s=window_s)
        )
        for name in new:
            watch = self._watches[keys[name]] = _Watch(now_s)
            for growth, series in ((watch.requests, begun[0]), (watch.latency, begun[1])):
                begin = growth.begin if keys[name] in self._missed else growth.follow
                begin(series[name])
        for name in old:
            watch = self._watches[keys[name]]
            watch.requests.follow(followed[0][name])
            watch.latency.follow(followed[1][name])
            watch.read_at_s = now_s

    def _fetch(
        self, service: str, namespace: str, revisions: Collection[str], *, look: _Look
    ) -> tuple[dict[str, list[Series]], dict[str, list[Series]]]:
        """Return the series of requests and of latencies by revision."""
        profile = self._profile
        requests: dict[str, list[Series]] = {name: [] for name in revisions}
        latency: dict[str, list[Series]] = {name: [] for name in revisions}
        if not revisions:
            return requests, latency
        equal = {
            label: value.format(service=service, namespace=namespace)
            for label, value in profile.matchers.items()
        }
        owners = {
            value: name for name in sorted(revisions) for value in profile.revision_values(name)
        }
        one_of: Mapping[str, Collection[str]] = {profile.revision_label: owners}
        targets: Mapping[_Target, str] | None = None
        if profile.target_metric:
            found = look(selector(profile.target_metric, equal=equal, one_of=one_of))
            targets = _targets(found, profile.revision_label)
            if not targets:
                return requests, latency
            equal, one_of = {}, _addresses(targets)
        # Latencies after requests: whoever is counted in the first can be seen in the second.
        for metric, found_by in ((profile.requests, requests), (profile.latency, latency)):
            for series in look(selector(metric, equal=equal, one_of=one_of)):
                value = (
                    series.labels.get(profile.revision_label, "")
                    if targets is None
                    else targets.get(_target(series), "")
                )
                if value in owners:
                    found_by[owners[value]].append(series)
        return requests, latency

    def _counters(self, revision: str, watch: _Watch) -> RevisionMetrics:
        profile = self._profile
        requests: dict[int, int] = {}
        for labels, count in watch.requests.items():
            code = profile.status_code(labels)
            requests[code] = requests.get(code, 0) + count
        latency_ms: dict[float, int] = {}
        for labels, count in watch.latency.items():
            bound_ms = round(_bound(labels, profile.latency) * profile.ms_per_unit, 6)
            latency_ms[bound_ms] = latency_ms.get(bound_ms, 0) + count
        rising = sorted(latency_ms.items())
        if rising and not math.isinf(rising[-1][0]):
            raise PlatformError(f"{revision}: {profile.latency} has no bound +Inf")
        if any(low[1] > high[1] for low, high in itertools.pairwise(rising)):
            raise PlatformError(f"{revision}: {profile.latency} falls, its pods' bounds differ")
        if not rising and any(code < 300 for code in requests):
            # Without latencies nothing could be found slow; TF Serving times successes only.
            raise PlatformError(f"{revision}: found {profile.requests}, no {profile.latency}")
        return RevisionMetrics(requests, dict(rising))


def _target(series: Series) -> _Target:
    # The pod is there when a PodMonitor scraped it; an address alone may be given to the next one.
    labels = series.labels
    return labels.get("job", ""), labels.get("instance", ""), labels.get("pod", "")


def _targets(found: Collection[Series], revision_label: str) -> dict[_Target, str]:
    targets: dict[_Target, str] = {}
    for one in found:
        value = one.labels[revision_label]
        if targets.setdefault(_target(one), value) != value:
            raise PlatformError(f"{_target(one)}: found two revisions there, expected one")
    return targets


def _addresses(targets: Collection[_Target]) -> dict[str, list[str]]:
    return {
        "job": sorted({job for job, _, _ in targets}),
        "instance": sorted({instance for _, instance, _ in targets}),
    }


def _bound(labels: Mapping[str, str], metric: str) -> float:
    try:
        return float(labels["le"])
    except (KeyError, ValueError) as error:
        raise PlatformError(f"{metric}: found {error!r}, expected buckets with `le`") from error
