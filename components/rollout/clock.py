"""Time as the rollout sees it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Something that tells the time and lets it pass."""

    def now_s(self) -> float:
        """Return seconds since some moment that does not change."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return when this much time has passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Return seconds of the monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)
