"""What a canary must show to be promoted."""

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

from components.errors import InputError

OnTimeout = Literal["roll_back", "hold", "fail"]


@dataclass(frozen=True)
class RolloutPolicy:
    """Limits of a rollout; checked when made.

    Attributes:
        steps: The canary's share of the users in percent, rising, the last one 100.
        min_requests: Requests the canary (and, while it has traffic, the stable) must have
            answered in a step before it may advance.
        alpha: Risk that a canary within the limits below is rolled back for being outside of them,
            over all steps, tests and looks of the rollout together, 0 to 0.5.
        min_errors: Errors below which nobody is rolled back for them: a blip at the switch of the
            traffic is some errors together.
        max_error_increase: How much larger than the stable's the canary's share of 5xx answers may
            be, as a difference, more than 0; smaller differences do not count, however sure.
        max_p95_ratio: How many times slower than the stable the canary's p95 may be, above 1.
        max_p50_ratio: The same for the median.
        latency_floor_ms: A p95 or median this much slower is always allowed: where answers take
            milliseconds, other load on the machine moves them by as much.
        business_metric: Name of the metric that `Window.feedback` counts, such as "click-through";
            empty when none is asked for. Asked for, it holds the rollout until it is there.
        max_business_drop: How much smaller than the stable's the canary's share of successes may
            be, as a difference, more than 0.
        max_error_rate: Limit of 5xx answers where there is no stable to compare with, 0 to 1.
        max_p95_ms: Limit of the p95 where no stable answers beside it: on a first release, and at
            100 %.
        step_timeout_s: How long a step may wait for its evidence.
        on_timeout: What happens then: the canary is rolled back, or keeps its share of the users
            and the step goes on waiting ("hold") or fails ("fail") for a person to look.
        poll_s: Time between two looks at the metrics.
    """

    steps: tuple[int, ...] = (5, 25, 50, 100)
    min_requests: int = 500
    alpha: float = 0.01
    min_errors: int = 5
    max_error_increase: float = 0.005
    max_p95_ratio: float = 1.2
    max_p50_ratio: float = 1.2
    latency_floor_ms: float = 5.0
    business_metric: str = ""
    max_business_drop: float = 0.005
    max_error_rate: float = 0.01
    max_p95_ms: float = 1000.0
    step_timeout_s: float = 3600.0
    on_timeout: OnTimeout = "roll_back"
    poll_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a policy that could not decide.

        Raises:
            InputError: Names the setting.
        """
        rising = all(low < high for low, high in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or self.steps[0] < 1 or self.steps[-1] != 100:
            raise InputError("steps", f"{self.steps}", "rising percentages from 1 up to 100")
        for name in ("min_requests", "min_errors"):
            if getattr(self, name) < 1:
                raise InputError(name, f"{getattr(self, name)}", "at least 1")
        if not 0 < self.alpha < 0.5:
            raise InputError("alpha", f"{self.alpha}", "more than 0, less than 0.5")
        for name in ("max_error_increase", "max_business_drop"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(name, f"{getattr(self, name)}", "more than 0, less than 1")
        if not self.business_metric.isprintable() or len(self.business_metric) > 60:
            raise InputError("business_metric", f"{self.business_metric!r}", "a short name")
        if not 0 <= self.max_error_rate < 1:
            raise InputError("max_error_rate", f"{self.max_error_rate}", "0 to less than 1")
        for name in ("max_p95_ratio", "max_p50_ratio"):
            if not 1 < getattr(self, name) < math.inf:
                raise InputError(name, f"{getattr(self, name)}", "more than 1")
        if not 0 <= self.latency_floor_ms < math.inf:
            raise InputError("latency_floor_ms", f"{self.latency_floor_ms}", "0 or more")
        for name in ("max_p95_ms", "step_timeout_s", "poll_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, f"{getattr(self, name)}", "more than 0")
        parse_on_timeout(self.on_timeout)


def parse_steps(text: str) -> tuple[int, ...]:
    """Return the percentages of a list such as "5,25,50,100".

    Raises:
        InputError: If an entry is not a whole number.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError("steps", repr(text), "whole percentages such as 5,25,50,100") from error


def parse_on_timeout(text: str) -> OnTimeout:
    """Return what a step does that runs out of time.

    Raises:
        InputError: If it is none of the choices.
    """
    for choice in get_args(OnTimeout):
        if text == choice:
            return cast(OnTimeout, choice)
    raise InputError("on_timeout", repr(text), " or ".join(get_args(OnTimeout)))
