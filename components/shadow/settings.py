"""What is replayed, and what a candidate must show to go on."""

import math
from dataclasses import dataclass

from components.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ShadowSettings:
    """Settings of the step; checked when made.

    Attributes:
        requests: Requests to replay at most; 0 leaves the step out.
        requests_uri: Logged requests to replay, a JSON-lines file; "" samples held-out users.
        seed: Of the sample.
        clients: Requests on their way at the same time.
        max_error_rate: Share of the candidate's answers that may fail, 0 to 1.
        max_median_ratio: How many times the stable's median latency the candidate's may be.
        latency_floor_ms: A difference of medians below this does not count.
        min_overlap: Least mean overlap@k with the stable's lists, 0 to 1; 0 only reports it,
            because a better model is allowed to recommend something else.
    """

    requests: int = 200
    requests_uri: str = ""
    seed: int = 1
    clients: int = 4
    max_error_rate: float = 0.01
    max_median_ratio: float = 2.0
    latency_floor_ms: float = 10.0
    min_overlap: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises:
            InputError: Names the setting.
        """
        if self.requests < 0 or self.clients < 1:
            found = f"requests {self.requests}, clients {self.clients}"
            raise InputError("shadow", found, "requests ≥ 0 and clients ≥ 1")
        for name in ("max_error_rate", "min_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"shadow {name}", str(getattr(self, name)), "0 to 1")
        if not 1 <= self.max_median_ratio < math.inf:
            raise InputError("shadow max_median_ratio", str(self.max_median_ratio), "1 or more")
        if not 0 <= self.latency_floor_ms < math.inf:
            raise InputError("shadow latency_floor_ms", str(self.latency_floor_ms), "0 or more")
