"""What judges rollouts by the thousand, and what it is shown."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.rollout.simulation.scenario import BOUNDS_MS, Array

Codes: TypeAlias = NDArray[np.int64]

HOLD, ADVANCE, ROLL_BACK = 0, 1, 2


@dataclass(frozen=True)
class Tally:
    """Requests of one revision in many rollouts.

    Attributes:
        requests: Shape [rollouts].
        errors: Those answered 5xx, shape [rollouts].
        buckets: Those in each bucket of `BOUNDS_MS`, shape [rollouts, buckets].
    """

    requests: Array
    errors: Array
    buckets: Array

    @classmethod
    def none(cls, rollouts: int) -> "Tally":
        """Return the tally of no requests."""
        return cls(np.zeros(rollouts), np.zeros(rollouts), np.zeros((rollouts, len(BOUNDS_MS))))

    def plus(self, other: "Tally") -> "Tally":
        """Return both together."""
        return Tally(
            self.requests + other.requests,
            self.errors + other.errors,
            self.buckets + other.buckets,
        )

    def where(self, chosen: NDArray[np.bool_], other: "Tally") -> "Tally":
        """Return this one where chosen, the other elsewhere."""
        return Tally(
            np.where(chosen, self.requests, other.requests),
            np.where(chosen, self.errors, other.errors),
            np.where(chosen[:, None], self.buckets, other.buckets),
        )

    def of(self, chosen: NDArray[np.bool_]) -> "Tally":
        """Return the chosen rollouts' part."""
        return Tally(self.requests[chosen], self.errors[chosen], self.buckets[chosen])

    @property
    def cumulative(self) -> Array:
        """Requests that took at most each bound."""
        return np.cumsum(self.buckets, axis=-1)


class Judge(Protocol):
    """A way to judge many rollouts at once, look by look."""

    @property
    def look_s(self) -> float:
        """Time between two looks."""
        ...

    def look(self, canary: Tally, stable: Tally, step_s: Array) -> Codes:
        """Return HOLD, ADVANCE or ROLL_BACK by rollout.

        Args:
            canary: The canary's requests since the last look.
            stable: The stable's.
            step_s: Time since the present step began.
        """
        ...

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Forget the rollouts that have ended."""
        ...
