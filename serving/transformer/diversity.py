"""Maximal marginal relevance with a cap per category; pure."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from serving.transformer.features import ItemFeatures

_NO_CATEGORY = 0


def rerank(
    scores: npt.NDArray[np.float64],
    features: ItemFeatures,
    *,
    k: int,
    weight: float,
    category_cap: int,
) -> list[int]:
    r"""Choose up to k candidates, one at a time, by maximal marginal relevance.

    With S the candidates chosen so far and R all of them, the next one is (Carbonell and
    Goldstein 1998, "The use of MMR, diversity-based reranking", section 2)

        argmax over d in R \ S of  λ · rel(d) - (1 - λ) · max over s in S of sim(d, s)

    rel is the model's score, scaled so that the candidates' lowest is 0 and highest is 1 (1 for
    all when they are equal), because λ weighs it against a similarity that is at most 1. sim is
    the cosine of the two items' vectors where both have one; else 1 for two items of the same
    category and 0 for others. Of equals, the model's first is chosen. λ = 1 is the model's order.

    Args:
        scores: The model's, finite, shape [candidates]; in the model's order, best first.
        features: Of the candidates.
        k: Items wanted, ≥ 1.
        weight: λ, in [0, 1].
        category_cap: Items of one category among the chosen, 0 for any number; items without
            a category are not counted.

    Returns:
        Positions of the chosen candidates, in the order they were chosen. Fewer than k when the
        candidates or the cap allow no more.
    """
    open_rows = np.ones(len(scores), dtype=np.bool_)
    relevance, likeness = _scaled(scores), _Likeness(features)
    # While none is chosen no candidate is like any, so the first is the most relevant one.
    similarity = np.zeros(len(scores))
    chosen: list[int] = []
    taken: Counter[int] = Counter()
    while len(chosen) < k and open_rows.any():
        if weight == 1.0:
            row = int(np.argmax(open_rows))  # the model's order, whatever its scores are
        else:
            value = weight * relevance - (1.0 - weight) * similarity
            row = int(np.argmax(np.where(open_rows, value, -np.inf)))
            to_row = likeness.to(row)
            similarity = np.maximum(similarity, to_row) if chosen else to_row
        open_rows[row] = False
        chosen.append(row)
        category = int(likeness.categories[row])
        taken[category] += 1
        if taken[category] == category_cap and category != _NO_CATEGORY:
            open_rows &= likeness.categories != category
    return chosen


class _Likeness:
    """How like two candidates are, in [-1, 1]."""

    def __init__(self, features: ItemFeatures) -> None:
        codes: dict[str | None, int] = {None: _NO_CATEGORY}
        listed = [codes.setdefault(name, len(codes)) for name in features.categories]
        self.categories = np.asarray(listed, dtype=np.int64)
        self._units: npt.NDArray[np.float64] | None = None
        if features.vectors is not None:
            vectors = features.vectors.astype(np.float64)
            lengths = np.linalg.norm(vectors, axis=1)
            self._known = lengths > 0.0
            self._units = vectors / np.where(self._known, lengths, 1.0)[:, np.newaxis]

    def to(self, row: int) -> npt.NDArray[np.float64]:
        """Return the likeness of every candidate to the one at `row`, shape [candidates]."""
        category = self.categories[row]
        same: npt.NDArray[np.float64] = (
            (self.categories == category) & (category != _NO_CATEGORY)
        ).astype(np.float64)
        if self._units is None or not self._known[row]:
            return same
        cosine = self._units @ self._units[row]
        likeness: npt.NDArray[np.float64] = np.where(self._known, cosine, same)
        return likeness


def _scaled(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(scores) == 0 or (spread := np.ptp(scores)) == 0.0:
        return np.ones(len(scores))
    scaled: npt.NDArray[np.float64] = (scores - scores.min()) / spread
    return scaled
