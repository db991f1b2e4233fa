"""Evidence against a canary that may be looked at as often as one likes.

Each function returns an e-process E: while its null hypothesis holds, the chance that E ever
reaches 1 / alpha, at any look, is at most alpha (Ville's inequality; Ramdas, Grünwald, Vovk and
Shafer, Game-theoretic statistics and safe anytime-valid inference, Statistical Science 38,
2023). All are made of one part, Robbins' mixture (Statistical methods related to the law of the
iterated logarithm, 1970) for a stream of yes/no outcomes that hits with probability p:

    M(p) = B(x + a, n - x + b) / B(a, b) / (p^x (1 - p)^(n - x))

with x hits in n trials and B the beta function: the likelihood, averaged over a Beta(a, b) prior,
over the likelihood at p. While p is true, M(p) is a martingale that starts at 1. For two streams
whose probabilities are p and q, M(p) M(q) is one too, in whatever order their trials come. A null
is a set of pairs (p, q); one of them is true, so the least M(p) M(q) over the set is an e-process
(Wasserman, Ramdas and Balakrishnan, Universal inference, PNAS 117, 2020). It needs nothing but
counters: the base rate may be unknown, the streams of any size, steady or not, the looks of any
number, and nothing is taken as normal. What it needs is that requests are independent and that a
revision's rates do not change during the step.

All functions take arrays; leading axes are independent rollouts.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

from components.rollout.histogram import quantile_of, slower_than

Array: TypeAlias = NDArray[np.float64]

_BISECTIONS = 40  # of an interval inside [0, 1]; the likelihood is flat where it ends
_PIECES = 32  # of the latencies the stable's quantile may be; more gain nothing that can be seen
# The latency test's prior is worth this many requests at the null's rate, which is known there: it
# finds differences of some points a third sooner than a flat one.
_PRIOR_REQUESTS = 100.0


@dataclass(frozen=True)
class Evidence:
    """What the data say against a null hypothesis.

    Attributes:
        log_e: Natural logarithm of E; proof is log_e ≥ log(1 / alpha), at any look.
        log_ratio: How much more that is than if exactly what the null allows had been observed: a
            log likelihood ratio. For one look, half the square of a standard normal deviate
            (Wilks); no proof, for looking often makes it large by chance.
    """

    log_e: Array
    log_ratio: Array


def evidence_above(hits: ArrayLike, trials: ArrayLike, *, limit: float) -> Evidence:
    """Return the evidence against "the rate is at most the limit".

    The least M(p) over p ≤ limit under Jeffreys' prior, a = b = 1/2, is where the likelihood is
    greatest: at the observed rate, or at the limit when that is lower.

    Args:
        hits: Hits, at most `trials`; need not be whole.
        trials: Trials, at least 1.
        limit: The limit, 0 to 1.
    """
    x, n = np.asarray(hits, dtype=float), np.asarray(trials, dtype=float)
    ratio = _log_likelihood(x, n, x / n) - _log_likelihood(x, n, np.minimum(limit, x / n))
    return Evidence(ratio + _log_least(x, n), ratio)


def evidence_more_often(
    hits: ArrayLike,
    trials: ArrayLike,
    base_hits: ArrayLike,
    base_trials: ArrayLike,
    *,
    margin: float,
) -> Evidence:
    """Return the evidence against "the rate is at most the base's rate + margin".

    The least M(p) M(q) over p ≤ q + margin under Jeffreys' prior, a = b = 1/2. It is at the
    observed rates when they obey that, and E is below 1 then; else it is on p = q + margin, where
    the log likelihood is concave: bisection of its slope finds the maximum.

    Args:
        hits: Hits of the stream on trial.
        trials: Its trials, at least 1.
        base_hits: Hits of the stream it is compared with.
        base_trials: Its trials, at least 1.
        margin: How much larger the rate may be, 0 to less than 1.
    """
    x, n = np.asarray(hits, dtype=float), np.asarray(trials, dtype=float)
    y, m = np.asarray(base_hits, dtype=float), np.asarray(base_trials, dtype=float)
    low, high = y / m, np.maximum(y / m, x / n - margin)
    for _ in range(_BISECTIONS if np.any(low < high) else 0):
        q = (low + high) / 2
        rising = _slope(x, n, q + margin) + _slope(y, m, q) > 0
        low, high = np.where(rising, q, low), np.where(rising, high, q)
    p = np.minimum(x / n, high + margin)
    on_trial = _log_likelihood(x, n, x / n) - _log_likelihood(x, n, p)
    of_base = _log_likelihood(y, m, y / m) - _log_likelihood(y, m, low)
    ratio = on_trial + of_base
    return Evidence(ratio + _log_least(x, n) + _log_least(y, m), ratio)


def evidence_slower(
    cumulative: ArrayLike,
    base_cumulative: ArrayLike,
    *,
    bounds: ArrayLike,
    base_bounds: ArrayLike,
    quantile: float,
    ratio: float,
    floor: float,
) -> Evidence:
    """Return the evidence against "the quantile is at most L(the base's quantile)".

    L(t) = max(ratio t, t + floor). With e = 1 - quantile and t the base's true quantile, a share e
    of the base's requests is slower than t, and under the null at most e of those on trial are
    slower than L(t). So the least M(e) M(e) over all t, the first of the base's requests slower
    than t and the second of the others slower than L(t), is an e-process; t need be neither known
    nor fixed beforehand, and that the base's quantile is only estimated is accounted for.

    Each M counts on its own side only: with fewer than e slower of the base, with more than e on
    trial; beyond that its value at e, which is its least, stands for it. So the first rises with t
    and the second falls, and all that matters lies between the base's observed quantile and the t
    whose L is the other's observed quantile. That is cut into pieces; the first M at a piece's
    start times the second at its end is no more than any product on the piece.

    A histogram knows no more than its buckets: the null is about latencies spread evenly inside
    them. Counting a request in parts keeps M a supermartingale, as a weighted geometric mean of
    likelihood ratios is at most the arithmetic one.

    Args:
        cumulative: Requests that took at most each bound, shape [..., bounds], at least one in all.
        base_cumulative: The same of those compared with, shape [..., base bounds].
        bounds: Upper bounds, rising, the last may be inf.
        base_bounds: The same for the base.
        quantile: Which quantile, between 0 and 1.
        ratio: How many times the base's quantile is allowed, at least 1.
        floor: How much above the base's quantile is allowed anyway, in the bounds' unit.
    """
    on_trial, base = np.asarray(cumulative, dtype=float), np.asarray(base_cumulative, dtype=float)
    upper, base_upper = np.asarray(bounds, dtype=float), np.asarray(base_bounds, dtype=float)
    largest = np.max(base_upper, where=np.isfinite(base_upper), initial=0.0)
    n, m, share = on_trial[..., -1:], base[..., -1:], 1 - quantile
    first = quantile_of(base, base_upper, quantile)
    seen = quantile_of(on_trial, upper, quantile)
    last = np.minimum(np.minimum(seen / ratio, seen - floor), largest)
    least = (_log_martingale(share * m, m, share) + _log_martingale(share * n, n, share))[..., 0]
    # Not beyond: nothing speaks against it, or the base's quantile is in the open bucket, where it
    # is not known and nothing is slower.
    beyond, log_e = last > first, np.array(least)
    n, m, on_trial, base = n[beyond], m[beyond], on_trial[beyond], base[beyond]
    width = (last - first)[beyond][:, None]
    t = first[beyond][:, None] + width * np.linspace(0, 1, _PIECES + 1)
    base_slower = np.minimum(slower_than(base, base_upper, t), share * m)
    slower = np.maximum(slower_than(on_trial, upper, np.maximum(ratio * t, t + floor)), share * n)
    # The last piece has no end: there nothing speaks against what is on trial.
    at_end = np.concatenate([slower[:, 1:], share * n], axis=-1)
    log_e[beyond] = np.min(
        _log_martingale(base_slower, m, share) + _log_martingale(at_end, n, share), axis=-1
    )
    return Evidence(log_e, log_e - least)


def _log_martingale(x: Array, n: Array, p: float) -> Array:
    # The halves put its least value at x = n p.
    a, b = _PRIOR_REQUESTS * p + 0.5, _PRIOR_REQUESTS * (1 - p) + 0.5
    return _log_average(x, n, a, b) - _log_likelihood(x, n, p)


def _log_least(x: Array, n: Array) -> Array:
    """Return log M at the observed rate under Jeffreys' prior, which is its least value."""
    return _log_average(x, n, 0.5, 0.5) - _log_likelihood(x, n, x / n)


def _log_average(x: Array, n: Array, a: float, b: float) -> Array:
    found: Array = betaln(x + a, n - x + b) - betaln(a, b)
    return found


def _log_likelihood(x: Array, n: Array, p: Array | float) -> Array:
    found: Array = xlogy(x, p) + xlog1py(n - x, -np.asarray(p))
    return found


def _slope(x: Array, n: Array, p: Array) -> Array:
    """Return the slope of the log likelihood at p, where 0 / 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = np.where(x > 0, x / p, 0.0), np.where(n > x, (n - x) / (1 - p), 0.0)
    slope: Array = rising - falling
    return slope
