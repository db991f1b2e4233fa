"""decide() by worked examples and by properties."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import InputError
from components.rollout.decision import Observation, RolloutState, decide
from components.rollout.policy import OnTimeout, RolloutPolicy, parse_steps
from components.rollout.window import Feedback, Window

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
        # A proof is E >= 12 / .01 = 1,200: four steps of three tests. 20 of 100 against none of
        # 1,900 has E = 6e19.
        (0, window(100, 20), window(1900), "roll_back"),
        # 4 of 100 against 40 of 1,900 (2.1 %), half a point allowed: (.04 - .026) / .016 is a z of
        # .9, no standard error, so that there is no doubt.
        (0, window(100, 4), window(1900, 40), "advance"),
        # 5 of 100: the likelihood ratio of .85 is a z of sqrt(2 * .85) = 1.3, which proves nothing
        # (E = .003), and it stays at this share; so it does at 12 of 100, where E is 8.8; 17 of
        # 100 have E = 55,000.
        (0, window(100, 5), window(1900, 40), "hold"),
        (0, window(100, 7), window(1900, 40), "hold"),
        (0, window(100, 12), window(1900, 40), "hold"),
        (0, window(100, 17), window(1900, 40), "roll_back"),
        # Four errors are below min_errors, however clean the stable; but they are looked into.
        (0, window(100, 4), window(1900), "hold"),
        # Stable's p95 is 9.5 ms (95 % into the 0-10 ms bucket), so the limit is 14.5 ms (5 ms of
        # floor is more than a fifth of 9.5), and all slow ones are above it; 5 are expected. With
        # 7, z = 2 / sqrt(4.75) = .9; with 12, z = 3.2, no proof; 25 are one, E = 200,000.
        (0, window(100, slow=7), window(1900), "advance"),
        (0, window(100, slow=12), window(1900), "hold"),
        (0, window(100, slow=25), window(1900), "roll_back"),
        # A long tail on both sides (stable: 20 % between 40 and 50 ms, p95 47.5) hides nothing:
        # stable's median is 50/80 into 10 ms, 6.25 ms, so the limit is 11.25 ms, and of 95 canary
        # requests from 10 to 40 ms 1.25/30 are below it: 91 of 100 are above, 50 are expected.
        (
            0,
            Window(100, 0, {10.0: 5, 40.0: 100, math.inf: 100}),
            window(1900, slow=380),
            "roll_back",
        ),
        # Not enough requests: of the canary, and of the stable.
        (0, window(99), window(1900), "hold"),
        (2, window(150), window(99), "hold"),
        # There is no need to wait for 100: 6 of 10 against none of 1,900 has E = 2e8.
        (0, window(10, 6), window(1900), "roll_back"),
        # 5 of 30 against 190 of 1,900 (10 %): z = (.0667 - .005) / .0548 = 1.1.
        (0, window(30, 5), window(1900, 190), "hold"),
        # A new server's first requests are slow together; that alone is not judged early.
        (0, window(30, slow=30), window(1900), "hold"),
        (0, window(0), window(1900), "hold"),
        # Enough requests, and nobody says how long they took.
        (0, Window(100), window(1900), "hold"),
        (0, window(100), Window(1900), "hold"),
    ],
)
def test_decision_table(step: int, canary: Window, stable: Window, expected: str):
    assert decide(RolloutState(step), observe(canary, stable), POLICY).kind == expected


def test_a_difference_within_the_margin_is_tolerated_however_sure():
    # A million requests each: 1.4 % is beyond doubt more than 1 %, and by less than half a point.
    canary, stable = window(1_000_000, 14_000), window(1_000_000, 10_000)
    assert decide(RolloutState(2), observe(canary, stable), POLICY).kind == "advance"
    worse = window(1_000_000, 17_000)
    assert decide(RolloutState(2), observe(worse, stable), POLICY).kind == "roll_back"


def test_reason_tells_what_was_seen():
    action = decide(RolloutState(), observe(window(100, 20), window(1900, 19)), POLICY)
    assert action.reason.startswith("error rate over stable's + 0.005, p-value: 20.00 % against 1.")
    doubt = decide(RolloutState(), observe(window(100, slow=12), window(1900)), POLICY)
    assert doubt.reason.startswith("p95 latency over 1.2 × stable's, p-value: not settled, 45.8 ms")
    assert [check.verdict for check in doubt.checks] == ["passed", "passed", "open"]


@pytest.mark.parametrize("kind", ["roll_back", "hold", "fail"])
def test_no_data_holds_and_after_the_timeout_the_policy_chooses(kind: OnTimeout):
    policy, nothing = replace(POLICY, on_timeout=kind), Window()
    before = decide(RolloutState(), observe(nothing, nothing, elapsed_s=599.0), policy)
    assert before.kind == "hold"
    action = decide(RolloutState(), observe(nothing, nothing, elapsed_s=600.0), policy)
    assert action.kind == kind
    assert "only 0 requests of the canary" in action.reason
    assert "after 600 s by the policy" in action.reason


def test_doubt_that_lasts_until_the_timeout_is_told_as_such():
    doubtful = observe(window(100, 7), window(1900, 40), elapsed_s=600.0)
    action = decide(RolloutState(), doubtful, POLICY)
    assert action.kind == "roll_back"
    assert "error rate" in action.reason
    assert "not settled, 7.00 % against 2.11 %" in action.reason
    assert action.reason.endswith("after 600 s by the policy it is rolled back")


def test_at_100_percent_the_stables_earlier_steps_are_compared_with():
    state = RolloutState(step=3, baseline=window(1000))
    assert decide(state, observe(window(100), Window()), POLICY).kind == "promote"
    assert decide(state, observe(window(100, 20), Window()), POLICY).kind == "roll_back"
    # Requests that were under way when the split changed are no traffic to wait for.
    assert decide(state, observe(window(100), window(3)), POLICY).kind == "promote"


def test_at_100_percent_latencies_of_another_hour_are_no_measure_but_the_absolute_limit_is():
    state = RolloutState(3, baseline=window(1000))
    # All between 40 and 50 ms, four times the stable's earlier 10 ms: beside it, a roll-back.
    slow = window(200, slow=200)
    assert decide(RolloutState(2), observe(slow, window(200)), POLICY).kind == "roll_back"
    assert decide(state, observe(slow, window(0)), POLICY).kind == "promote"
    action = decide(state, observe(slow, window(0)), replace(POLICY, max_p95_ms=30.0))
    assert action.kind == "roll_back"
    assert action.reason.startswith("p95 latency, ms: found 49.5, limit 30")


def test_before_100_percent_only_the_present_step_counts():
    state = RolloutState(step=2, baseline=window(1000))
    assert decide(state, observe(window(100), window(99)), POLICY).kind == "hold"


ASKED = replace(POLICY, business_metric="click-through", max_business_drop=0.02)


def clicked(clicks: int, trials: int, requests: int) -> Window:
    return replace(window(requests), feedback=Feedback(trials, clicks))


@pytest.mark.parametrize(
    ("canary", "stable", "expected"),
    [
        # 10 % of both click; 9 % is within the two points.
        (clicked(20, 200, 200), clicked(190, 1900, 1900), "advance"),
        (clicked(90, 1000, 1000), clicked(1900, 19_000, 19_000), "advance"),
        # 3 % against 10 %, two points allowed: of 1,000 about 80 are expected at least.
        (clicked(30, 1000, 1000), clicked(1900, 19_000, 19_000), "roll_back"),
        # More clicks are no harm.
        (clicked(500, 1000, 1000), clicked(1900, 19_000, 19_000), "advance"),
        # Asked for and not there, or too little of it.
        (window(1000), clicked(1900, 19_000, 19_000), "hold"),
        (clicked(30, 1000, 1000), window(19_000), "hold"),
        (clicked(0, 0, 1000), clicked(1900, 19_000, 19_000), "hold"),
        (clicked(0, 99, 1000), clicked(1900, 19_000, 19_000), "hold"),
        # More clicks than answers: whatever that counts, it is no share.
        (clicked(1001, 1000, 1000), clicked(1900, 19_000, 19_000), "hold"),
    ],
)
def test_business_metric_is_tested_when_asked_for(canary: Window, stable: Window, expected: str):
    assert decide(RolloutState(), observe(canary, stable), ASKED).kind == expected


def test_business_metric_not_asked_for_does_not_count():
    bad = observe(clicked(0, 1000, 1000), clicked(1900, 19_000, 19_000))
    assert decide(RolloutState(), bad, POLICY).kind == "advance"


def test_business_metric_missing_at_the_timeout_is_named():
    late = observe(window(1000), window(19_000), elapsed_s=600.0)
    action = decide(RolloutState(), late, ASKED)
    assert action.kind == "roll_back"
    assert "click-through under stable's - 0.02, p-value: no data" in action.reason


def test_too_little_feedback_is_told_with_its_counts():
    late = observe(clicked(3, 40, 1000), clicked(9, 190, 1900), elapsed_s=600.0)
    reason = decide(RolloutState(), late, ASKED).reason
    assert "p-value: no data, 40 and 190 reported, expected 100; after 600 s" in reason


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
        (window(100, 2), "hold"),  # 2 % is above it, and no proof
        # A proof is E >= 2 / .01: 8 errors where 1 is expected have E = 1,600.
        (window(100, 8), "roll_back"),
        (window(99, 50), "roll_back"),  # no need to wait
        (window(99), "hold"),
        (Window(100, 0, {10.0: 100, math.inf: 100}), "promote"),
        # 10 % and 30 % are over the limit of 1000 ms, 5 % may be.
        (Window(100, 0, {1000.0: 90, 2000.0: 100, math.inf: 100}), "hold"),
        (Window(100, 0, {1000.0: 70, 2000.0: 100, math.inf: 100}), "roll_back"),
        (Window(100, 0, {}), "hold"),  # no latencies is not a low latency
        # 6 % are slower than 500 ms, and whether than 1000, nobody knows.
        (Window(100, 0, {500.0: 94, math.inf: 100}), "hold"),
    ],
)
def test_first_release_has_one_step_and_absolute_limits(canary: Window, expected: str):
    state = RolloutState(has_stable=False)
    assert decide(state, observe(canary, Window()), POLICY).kind == expected


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
def test_a_canary_just_like_its_stable_is_never_doubted(same: Window, step: int):
    action = decide(RolloutState(step), observe(same, same), POLICY)
    assert action.kind != "roll_back"
    assert {check.verdict for check in action.checks} <= {"passed", "missing"}


@given(windows(), windows(), st.integers(0, 3), st.floats(0, 1e6), st.booleans())
def test_what_was_asked_for_and_is_missing_never_passes(
    canary: Window, stable: Window, step: int, elapsed_s: float, silent: bool
):
    deaf = replace(canary, feedback=None) if silent else replace(canary, latency_ms={})
    action = decide(RolloutState(step), observe(deaf, stable, elapsed_s=elapsed_s), ASKED)
    assert action.kind not in ("advance", "promote")


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ()},
        {"steps": (5, 25)},
        {"steps": (50, 25, 100)},
        {"steps": (0, 100)},
        {"min_requests": 0},
        {"alpha": 0.0},
        {"alpha": 0.5},
        {"max_error_increase": 0.0},
        {"max_business_drop": 1.0},
        {"business_metric": "click\nthrough"},
        {"on_timeout": "promote"},
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
