"""How alike two ranked lists are."""

from collections.abc import Sequence


def overlap_at_k(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of places that two lists of length k have in common, in [0, 1].

    |A ∩ B| / k, with k the longer list's length. Two empty lists are alike.
    """
    k = max(len(one), len(other))
    return len(set(one) & set(other)) / k if k else 1.0


def average_overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the mean of the overlap at every depth from 1 to k, so that the top counts more.

    Webber, Moffat & Zobel, "A similarity measure for indefinite rankings", TOIS 2010, §3.2.
    """
    k = max(len(one), len(other))
    depths = range(1, k + 1)
    shares = [len(set(one[:depth]) & set(other[:depth])) / depth for depth in depths]
    return sum(shares) / k if k else 1.0
