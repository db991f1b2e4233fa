"""The e-processes: by hand, against a slower way to compute them, and by their promise."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.rollout.evidence import evidence_above, evidence_more_often, evidence_slower

BOUNDS = np.append(np.geomspace(5, 500, 60), np.inf)


def test_one_rate_by_hand():
    # Jeffreys' average of 3 hits in 3 trials: (1/2)(3/2)(5/2) / (1 2 3) = .3125, against .1^3.
    found = evidence_above(3, 3, limit=0.1)
    assert found.log_e == pytest.approx(math.log(0.3125 / 0.001))
    assert found.log_ratio == pytest.approx(math.log(1 / 0.001))
    # 1 in 4 is below the limit of .5: (1/2) (1/2)(3/2)(5/2) / 24 = .0390625 against the best that
    # the null has, (1/4)(3/4)^3 = .10546875.
    found = evidence_above(1, 4, limit=0.5)
    assert found.log_e == pytest.approx(math.log(0.0390625 / 0.10546875))
    assert found.log_ratio == 0


def test_two_rates_by_hand():
    # One hit in one trial against none in one: averages 1/2 each. With p = q the most is
    # p (1 - p) = 1/4, so E = (1/4) / (1/4).
    found = evidence_more_often(1, 1, 0, 1, margin=0.0)
    assert found.log_e == pytest.approx(0.0, abs=1e-9)
    assert found.log_ratio == pytest.approx(math.log(4))
    # With p = q + 1/2 it is (q + 1/2)(1 - q), largest at q = 1/4: .5625.
    found = evidence_more_often(1, 1, 0, 1, margin=0.5)
    assert found.log_e == pytest.approx(math.log(0.25 / 0.5625))


def test_a_limit_of_zero_is_refuted_by_one_hit():
    assert evidence_above(1, 100, limit=0.0).log_e == math.inf
    assert evidence_above(0, 100, limit=0.0).log_e < 0


def cumulative(draw: np.random.Generator, requests: int, scale: float) -> np.ndarray:
    shares = np.diff(stats.lognorm.cdf(BOUNDS, 0.5, scale=40 * scale), prepend=0)
    return draw.multinomial(requests, shares).cumsum()


def slowly(canary: np.ndarray, stable: np.ndarray, quantile: float, ratio: float) -> float:
    """The least M M over a fine grid of t, each M by summing over its prior's grid."""
    share = 1 - quantile
    prior = np.linspace(0.0005, 0.9995, 4000)
    weight = stats.beta.pdf(prior, 100 * share + 0.5, 100 * quantile + 0.5)

    def log_m(x: float, n: float) -> float:
        logs = x * np.log(prior / share) + (n - x) * np.log((1 - prior) / quantile)
        return float(logs.max() + np.log(np.average(np.exp(logs - logs.max()), weights=weight)))

    def slower(counts: np.ndarray, limit: float) -> float:
        at = np.interp(limit, [0, *BOUNDS[:-1]], [0, *counts[:-1]])
        return float(counts[-1] - at)

    n, m = canary[-1], stable[-1]
    return min(
        log_m(min(slower(stable, t), share * m), m)
        + log_m(max(slower(canary, ratio * t), share * n), n)
        for t in np.geomspace(10, 250, 600)
    )


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("scale", [1.0, 1.4, 2.0])
def test_slower_is_just_below_the_least_product_over_all_thresholds(quantile: float, scale: float):
    draw = np.random.default_rng(1)
    canary, stable = cumulative(draw, 400, scale), cumulative(draw, 4000, 1.0)
    found = evidence_slower(
        canary,
        stable,
        bounds=BOUNDS,
        base_bounds=BOUNDS,
        quantile=quantile,
        ratio=1.2,
        floor=0.0,
    )
    expected = slowly(canary, stable, quantile, 1.2)
    # Cutting into pieces costs some evidence and adds none, but for the slow grids' own errors.
    assert expected - 0.15 * abs(expected) - 0.3 < found.log_e < expected + 0.05


def test_a_quantile_within_what_is_allowed_is_no_evidence():
    draw = np.random.default_rng(1)
    canary, stable = cumulative(draw, 400, 1.5), cumulative(draw, 4000, 1.0)
    allowed = {"ratio": 1.01, "floor": 100.0}
    found = evidence_slower(
        canary, stable, bounds=BOUNDS, base_bounds=BOUNDS, quantile=0.95, **allowed
    )
    assert found.log_ratio == pytest.approx(0.0)
    assert found.log_e < 0


def test_a_stable_whose_quantile_is_in_the_open_bucket_refutes_nobody():
    bounds = [10.0, math.inf]
    # 10 % of the stable took longer than 10 ms, how much longer is not known.
    found = evidence_slower(
        [0, 500],
        [900, 1000],
        bounds=bounds,
        base_bounds=bounds,
        quantile=0.95,
        ratio=1.2,
        floor=0.0,
    )
    assert found.log_ratio == 0
    # One that has it in a bucket refutes a canary that is all in the open one.
    found = evidence_slower(
        [0, 500],
        [990, 1000],
        bounds=bounds,
        base_bounds=bounds,
        quantile=0.95,
        ratio=1.2,
        floor=0.0,
    )
    assert found.log_e > math.log(1e6)


def test_canary_and_stable_may_have_different_buckets():
    found = [
        evidence_slower(
            counts,
            [950, 1000],
            bounds=bounds,
            base_bounds=[10.0, 100.0],
            quantile=0.95,
            ratio=1.2,
            floor=0.0,
        ).log_e
        for counts, bounds in (([200, 500], [50.0, 100.0]), ([0, 200, 500], [1.0, 50.0, 100.0]))
    ]
    assert found[0] > math.log(1e6)
    assert found[1] > math.log(1e6)


counts = st.integers(1, 2000)
shares = st.floats(0, 1)


@given(counts, counts, shares, shares, st.floats(0, 0.5))
def test_a_rate_within_the_margin_is_never_evidence(
    n: int, m: int, share: float, base_share: float, margin: float
):
    base_hits = round(base_share * m)
    hits = math.floor(min(share, base_hits / m + margin) * n)
    found = evidence_more_often(hits, n, base_hits, m, margin=margin)
    assert found.log_ratio == pytest.approx(0.0, abs=1e-6)
    assert found.log_e < 1e-6


@given(counts, counts, shares, shares)
def test_more_hits_never_take_proof_away(n: int, m: int, share: float, base_share: float):
    hits, base_hits = math.floor(share * (n - 1)), round(base_share * m)
    fewer, more = (
        evidence_more_often(x, n, base_hits, m, margin=0.005).log_e for x in (hits, hits + 1)
    )
    assert more > fewer or fewer < 0


STREAMS, LOOKS, ALPHA = 2000, 100, 0.1
# A binomial of 2,000 trials with probability 0.1 is above 250 once in 10,000 times.
MOST_REFUTED = 250


def looks(share: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """About 20 requests between two looks, of which the canary gets this share."""
    draw = np.random.default_rng(2)
    for _ in range(LOOKS):
        yield draw.poisson(20 * share, STREAMS), draw.poisson(20 * (1 - share), STREAMS)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_rate_at_the_edge_of_the_null_is_refuted_no_more_often_than_alpha(share: float):
    draw = np.random.default_rng(3)
    refuted = np.zeros(STREAMS, dtype=bool)
    x, n, y, m = np.zeros((4, STREAMS))
    for trials, base_trials in looks(share):
        n, m = n + trials, m + base_trials
        x, y = x + draw.binomial(trials, 0.07), y + draw.binomial(base_trials, 0.05)
        seen = (n > 0) & (m > 0)
        found = evidence_more_often(x[seen], n[seen], y[seen], m[seen], margin=0.02)
        refuted[seen] |= found.log_e >= -math.log(ALPHA)
    assert refuted.sum() <= MOST_REFUTED


def test_a_rate_at_its_limit_is_refuted_no_more_often_than_alpha():
    draw = np.random.default_rng(3)
    refuted = np.zeros(STREAMS, dtype=bool)
    x, n = np.zeros((2, STREAMS))
    for trials, _ in looks(0.5):
        n, x = n + trials, x + draw.binomial(trials, 0.05)
        found = evidence_above(x[n > 0], n[n > 0], limit=0.05)
        refuted[n > 0] |= found.log_e >= -math.log(ALPHA)
    assert refuted.sum() <= MOST_REFUTED


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_a_quantile_at_the_edge_of_the_null_is_refuted_no_more_often_than_alpha(
    share: float, quantile: float
):
    draw = np.random.default_rng(3)
    refuted = np.zeros(STREAMS, dtype=bool)
    # Bounds 10 % apart: a canary whose requests lie two buckets higher is 1.1² times as slow.
    bounds = 1.1 ** np.arange(60)
    stable = np.diff(stats.lognorm.cdf(bounds, 0.5, scale=20), prepend=0)
    stable /= stable.sum()
    canary = np.roll(stable, 2)
    ours, theirs = np.zeros((2, STREAMS, 60))
    for trials, base_trials in looks(share):
        ours = ours + draw.multinomial(trials, canary).cumsum(axis=-1)
        theirs = theirs + draw.multinomial(base_trials, stable).cumsum(axis=-1)
        seen = (ours[:, -1] > 0) & (theirs[:, -1] > 0)
        found = evidence_slower(
            ours[seen],
            theirs[seen],
            bounds=bounds,
            base_bounds=bounds,
            quantile=quantile,
            ratio=1.1**2,
            floor=0.0,
        )
        refuted[seen] |= found.log_e >= -math.log(ALPHA)
    assert refuted.sum() <= MOST_REFUTED
