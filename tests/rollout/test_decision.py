"""decide() by worked examples and by properties."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import InputError
from components.rollout.decision import (
    Observation,
    RolloutState,
    decide,
    quantile_p_value,
    two_proportion_p_value,
)
from components.rollout.policy import RolloutPolicy, parse_steps
from components.rollout.window import Window

POLICY = RolloutPolicy(min_requests=100, step_timeout_s=600.0)


def window(requests: int, errors: int = 0, *, slow: int = 0) -> Window:
    """All requests take at most 10 ms, except `slow` of them, between 40 and 50 ms."""
    buckets = {10.0: requests - slow, 40.0: requests - slow, 50.0: requests, math.inf: requests}
    return Window(requests, errors, buckets)


def observe(canary: Window, stable: Window, *, elapsed_s: float = 60.0) -> Observation:
    return Observation(elapsed_s, canary, stable)


@pytest.mark.parametrize(
    ("step", "canary", "stable", "expected"),
    [
        # The same behaviour on both sides: on to the next step, and after the last one for good.
        (0, window(100), window(1900), "advance"),
        (2, window(100, 1), window(100, 1), "advance"),
        (3, window(100), window(100), "promote"),
        # 20 of 100 against 0 of 1900: pooled 20/2000 = 0.01, sd sqrt(.0099 (1/100 + 1/1900)) =
        # .01021, z = .2 / .01021 = 19.6.
        (0, window(100, 20), window(1900), "roll_back"),
        # 5 of 100 against 40 of 1900 (2.1 %): pooled .0225, sd sqrt(.02199 (.01 + .000526)) =
        # .01521, z = (.05 - .02105) / .01521 = 1.90, p = .029: not significant at .01.
        (0, window(100, 5), window(1900, 40), "advance"),
        # 7 of 100: pooled .0235, sd .01554, z = (.07 - .02105) / .01554 = 3.15, p = .0008.
        (0, window(100, 7), window(1900, 40), "roll_back"),
        # Four errors are below min_errors, however clean the stable.
        (0, window(100, 4), window(1900), "advance"),
        # Stable's p95 is 9.5 ms (95 % into the 0-10 ms bucket), so the limit is 14.5 ms (5 ms of
        # floor is more than half of 9.5). 12 of 100 above it: z = (12 - .5 - 5) / sqrt(4.75) =
        # 2.98, p = .0014; 9 of 100: z = 1.61, p = .054.
        (0, window(100, slow=12), window(1900), "roll_back"),
        (0, window(100, slow=9), window(1900), "advance"),
        # A long tail on both sides (stable: 20 % between 40 and 50 ms, p95 47.5) hides nothing:
        # stable's median is 50/80 into 10 ms, 6.25 ms, so the limit is 11.25 ms, and 75 of 100
        # canary requests in the bucket from 10 to 40 ms are 1.25/30 below it: 71.9 are above,
        # z = (71.9 - .5 - 50) / 5 = 4.3.
        (
            0,
            Window(100, 0, {10.0: 25, 40.0: 100, math.inf: 100}),
            window(1900, slow=380),
            "roll_back",
        ),
        # Not enough requests: of the canary, and of the stable.
        (0, window(99), window(1900), "hold"),
        (2, window(150), window(99), "hold"),
        # 6 of 10 against 0 of 1900 is beyond one in a million: z = .6 / sqrt(.003141 * .996859 *
        # (.1 + .000526)) = 33.8; there is no need to wait for 100.
        (0, window(10, 6), window(1900), "roll_back"),
        # 5 of 30 against 190 of 1900 (10 %): z = .0667 / .0556 = 1.2.
        (0, window(30, 5), window(1900, 190), "hold"),
        # A new server's first requests are slow together; that alone is not judged early.
        (0, window(30, slow=30), window(1900), "hold"),
        (0, window(0), window(1900), "hold"),
    ],
)
def test_decision_table(step: int, canary: Window, stable: Window, expected: str):
    assert decide(RolloutState(step), observe(canary, stable), POLICY).kind == expected


def test_no_data_holds_and_after_the_timeout_rolls_back():
    nothing = Window()
    assert decide(RolloutState(), observe(nothing, nothing, elapsed_s=599.0), POLICY).kind == "hold"
    action = decide(RolloutState(), observe(nothing, nothing, elapsed_s=600.0), POLICY)
    assert action.kind == "roll_back"
    assert "only 0 requests of the canary" in action.reason


def test_at_100_percent_the_stables_last_step_is_compared_with():
    state = RolloutState(step=3, baseline=window(1000))
    assert decide(state, observe(window(100), Window()), POLICY).kind == "promote"
    assert decide(state, observe(window(100, 20), Window()), POLICY).kind == "roll_back"


def test_at_100_percent_late_counts_of_the_stable_are_not_waited_for():
    """Prometheus scrapes some of the last step's requests after the step has ended."""
    state = RolloutState(step=3, baseline=window(1900))
    late = window(7, 7)
    assert decide(state, observe(window(100), late), POLICY).kind == "promote"
    assert decide(state, observe(window(100, 20), late), POLICY).kind == "roll_back"
    # With nothing to compare with, seven are not enough.
    assert decide(RolloutState(step=3), observe(window(100), late), POLICY).kind == "hold"


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        (window(100, 1), "promote"),  # 1 % is the limit and allowed
        (window(100, 2), "roll_back"),
        (window(99, 50), "hold"),
        (Window(100, 0, {10.0: 100, math.inf: 100}), "promote"),
        # p95 in the bucket from 1000 to 2000 ms is over the limit of 1000 ms.
        (Window(100, 0, {1000.0: 90, 2000.0: 100, math.inf: 100}), "roll_back"),
        (Window(100, 0, {}), "roll_back"),  # no latencies is not a low latency
    ],
)
def test_first_release_has_one_step_and_absolute_limits(canary: Window, expected: str):
    state = RolloutState(has_stable=False)
    assert decide(state, observe(canary, Window()), POLICY).kind == expected


def test_two_proportion_test_by_hand():
    # 30 of 200 against 15 of 200: pooled 45/400 = .1125, sd sqrt(.1125 * .8875 * 2/200) = .0316,
    # z = .075 / .0316 = 2.3735, upper tail .00881.
    assert two_proportion_p_value(30, 200, 15, 200) == pytest.approx(0.00881, abs=1e-5)
    assert two_proportion_p_value(0, 200, 0, 200) == 1.0


def test_quantile_test_by_hand():
    # 60 of 100 over the median's limit, 50 expected: z = 9.5 / 5 = 1.9, upper tail .02872.
    assert quantile_p_value(60, 100, quantile=0.5) == pytest.approx(0.02872, abs=1e-5)
    # 12 of 100 over the limit, 5 expected: z = 6.5 / sqrt(4.75) = 2.98240, upper tail .00143.
    assert quantile_p_value(12, 100, quantile=0.95) == pytest.approx(0.00143, abs=1e-5)


requests = st.integers(0, 3000)
shares = st.floats(0, 1)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    total = draw(requests)
    return window(total, round(total * draw(shares)), slow=round(total * draw(shares)))


@given(windows(), windows(), st.integers(0, 3), st.floats(0, 1e6), st.booleans())
def test_never_advances_or_promotes_without_min_requests(
    canary: Window, stable: Window, step: int, elapsed_s: float, has_stable: bool
):
    state = RolloutState(step, has_stable=has_stable)
    action = decide(state, observe(canary, stable, elapsed_s=elapsed_s), POLICY)
    if action.kind in ("advance", "promote"):
        assert canary.requests >= 100
        assert stable.requests >= 100 or not has_stable


@given(windows(), windows(), st.integers(0, 3000), st.booleans())
def test_more_errors_never_save_a_canary(
    canary: Window, stable: Window, more: int, has_stable: bool
):
    state = RolloutState(has_stable=has_stable)
    worse = replace(canary, errors=min(canary.requests, canary.errors + more))
    if decide(state, observe(canary, stable), POLICY).kind == "roll_back":
        assert decide(state, observe(worse, stable), POLICY).kind == "roll_back"


@given(windows(), st.integers(0, 3))
def test_a_canary_like_its_stable_is_never_rolled_back_early(same: Window, step: int):
    assert decide(RolloutState(step), observe(same, same), POLICY).kind != "roll_back"


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ()},
        {"steps": (5, 25)},
        {"steps": (50, 25, 100)},
        {"steps": (0, 100)},
        {"min_requests": 0},
        {"alpha": 0.0},
        {"early_alpha": 0.5},
        {"max_error_rate": 1.0},
        {"max_p95_ratio": 1.0},
        {"max_p50_ratio": math.nan},
        {"max_p95_ms": math.inf},
        {"step_timeout_s": 0.0},
        {"poll_s": -1.0},
    ],
)
def test_policy_that_could_not_decide_is_refused_by_the_settings_name(wrong: dict):
    with pytest.raises(InputError, match=next(iter(wrong))):
        RolloutPolicy(**wrong)


def test_steps_are_read_from_text():
    assert parse_steps("5, 25,100") == (5, 25, 100)
    with pytest.raises(InputError, match="whole percentages"):
        parse_steps("5;100")
