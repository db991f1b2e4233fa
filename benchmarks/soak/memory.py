"""The memory of a service's processes over time, and whether it grows."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from serving.platform.state import ServiceDirectory

# Between the first and the last third of the constant load; both must hold.
LIMIT_SHARE, LIMIT_MB = 0.05, 10.0
_LOOK_EVERY_S = 1.0
_FEWEST_SAMPLES = 12


@dataclass(frozen=True)
class Growth:
    """What a process' resident memory did under constant load.

    Attributes:
        first_mb: Mean of the first third of the samples.
        last_mb: Mean of the last third.
        slope_mb: Least-squares slope, MB per 10 minutes.
    """

    first_mb: float
    last_mb: float
    slope_mb: float

    @property
    def grown_mb(self) -> float:
        """Last third minus first third."""
        return self.last_mb - self.first_mb

    @property
    def flat(self) -> bool:
        """Whether it grew by less than both limits."""
        return self.grown_mb < min(LIMIT_MB, LIMIT_SHARE * self.first_mb)


@dataclass
class Curve:
    """One process.

    Attributes:
        seconds: When it was looked at.
        rss_mb: Its resident set size then.
        serves_since_s: When it was first seen with users; None if it never was.
    """

    seconds: list[float]
    rss_mb: list[float]
    serves_since_s: float | None = None

    def growth(self, spans: Sequence[tuple[float, float]], *, warm_up_s: float) -> Growth | None:
        """Return what it did in spans of constant load after its own warm-up.

        Args:
            spans: Start and end of each, in seconds.
            warm_up_s: How long after its first user it is left out.

        Returns:
            None for a process that was there too briefly to judge.
        """
        if self.serves_since_s is None:
            return None
        warm = self.serves_since_s + warm_up_s
        seconds, rss = np.array(self.seconds), np.array(self.rss_mb)
        inside = np.any([(seconds >= max(a, warm)) & (seconds < b) for a, b in spans], axis=0)
        seconds, rss = seconds[inside], rss[inside]
        if len(rss) < _FEWEST_SAMPLES:
            return None
        third = len(rss) // 3
        slope_mb = 600 * float(np.polyfit(seconds, rss, 1)[0])
        return Growth(float(rss[:third].mean()), float(rss[-third:].mean()), slope_mb)


class MemoryCurves:
    """Looks at router and servers once a second; a context manager.

    Attributes:
        curves: By process: "router", or the revision it serves.
    """

    def __init__(self, service: Path, clock: Callable[[], float]) -> None:
        """Prepare to look.

        Args:
            service: Folder of the local service.
            clock: Returns the time in seconds.
        """
        self._directory, self._clock = ServiceDirectory(service), clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.curves: dict[str, Curve] = defaultdict(lambda: Curve([], []))

    def __enter__(self) -> "MemoryCurves":
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def pid(self, revision: str) -> int:
        """Return the process of a revision."""
        status = self._directory.read(self._directory.status)
        return int(status["revisions"][revision]["pid"])

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            status = self._directory.read(self._directory.status)
            self._sample("router", status["supervisor_pid"], serves=True)
            for name, state in status["revisions"].items():
                if state["ready"]:
                    self._sample(name, state["pid"], serves=state["traffic_percent"] > 0)

    def _sample(self, name: str, pid: int, *, serves: bool) -> None:
        try:
            rss = psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            return
        if not rss:  # it has ended, and nobody has waited for it yet
            return
        curve, now = self.curves[name], self._clock()
        curve.seconds.append(now)
        curve.rss_mb.append(rss / 1e6)
        if serves and curve.serves_since_s is None:
            curve.serves_since_s = now
