"""How much counters have grown, whatever became of the processes that held them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_Identity = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Series:
    """One time series of a counter.

    Attributes:
        labels: Its labels.
        samples: Time in s and count, oldest first.
    """

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, int]]


@dataclass
class _Counted:
    """What is known of one counter, or of one histogram with all its bounds ("" of a counter)."""

    last_s: float = -math.inf
    last: dict[str, int] = field(default_factory=dict)
    grown: dict[str, int] = field(default_factory=dict)


class CounterGrowth:
    """The growth of counters; it never falls.

    A sum of counters is no counter: it falls when one of its processes restarts or goes. So each
    series is followed by itself. A count below the one before is a process that began again from
    zero, and all of it is new; a series that is gone keeps what it had grown by. A histogram
    restarts as a whole, because a low bucket may have passed its old count again unseen.
    """

    def __init__(self) -> None:
        self._counted: dict[_Identity, _Counted] = {}

    def begin(self, series: Sequence[Series]) -> None:
        """Take the newest samples as the start: what was counted before is nobody's evidence."""
        for identity, moments in _by_moment(series).items():
            last: dict[str, int] = {}
            for _, counts in moments:
                last |= counts
            self._counted[identity] = _Counted(moments[-1][0], last, dict.fromkeys(last, 0))

    def follow(self, series: Sequence[Series]) -> None:
        """Add what the samples newer than the last ones grew by.

        All of a series not seen before is growth: it is a new pod's, or of a status code that
        nobody had got yet.
        """
        for identity, moments in _by_moment(series).items():
            counted = self._counted.setdefault(identity, _Counted())
            for moment_s, counts in moments:
                if moment_s > counted.last_s:
                    _advance(counted, moment_s, counts)

    def items(self) -> Iterator[tuple[dict[str, str], int]]:
        """Yield the labels of every series ever seen, and its growth."""
        for identity, counted in self._counted.items():
            for bound, count in counted.grown.items():
                yield dict(identity) | ({"le": bound} if bound else {}), count


def _by_moment(
    series: Sequence[Series],
) -> dict[_Identity, list[tuple[float, dict[str, int]]]]:
    found: dict[_Identity, dict[float, dict[str, int]]] = {}
    for one in series:
        identity = frozenset(item for item in one.labels.items() if item[0] != "le")
        moments = found.setdefault(identity, {})
        for moment_s, count in one.samples:
            moments.setdefault(moment_s, {})[one.labels.get("le", "")] = count
    return {identity: sorted(moments.items()) for identity, moments in found.items() if moments}


def _advance(counted: _Counted, moment_s: float, counts: Mapping[str, int]) -> None:
    restarted = any(count < counted.last.get(bound, 0) for bound, count in counts.items())
    for bound, count in counts.items():
        before = 0 if restarted else counted.last.get(bound, 0)
        counted.grown[bound] = counted.grown.get(bound, 0) + count - before
    counted.last_s, counted.last = moment_s, {**counted.last, **counts}
