"""Top 10 over unseen items, as microsoft/recommenders measures it: one metric code for all.

With T_u the test items of user u and h_j = 1 when the j-th recommended item is in T_u,

    P@k = mean_u Σ_{j≤k} h_j / k        R@k = mean_u Σ_{j≤k} h_j / |T_u|
    nDCG@k = mean_u Σ_{j≤k} h_j / log₂(j + 1)  /  Σ_{j≤min(k, |T_u|)} 1 / log₂(j + 1)

over the users with a test item (microsoft/recommenders, `python_evaluation.py`; binary relevance).
Items a user has in the train part are never recommended.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

K = 10


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of a part: codes of users and items, ratings 1–5 and seconds since 1970, [rows]."""

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    rating: npt.NDArray[np.float32]
    time: npt.NDArray[np.int64]

    def __getitem__(self, rows: npt.NDArray[np.generic]) -> "Part":
        """Return some of the rows."""
        return Part(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.user)


def measure(best: npt.NDArray[np.int64], test: Part) -> dict[str, float]:
    """Measure the lists of all users.

    Args:
        best: Item codes, best first, [users, K]; −1 where there is none.
        test: What they are to be found in.
    """
    users, items = len(best), int(max(best.max(), test.item.max())) + 1
    relevant = np.zeros((users, items + 1), bool)
    relevant[test.user, test.item] = True
    count = relevant.sum(axis=1)
    hits = relevant[np.arange(users)[:, None], best]
    gain = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(gain)[np.minimum(np.maximum(count, 1), K) - 1]
    asked = count > 0
    return {
        "nDCG@10": float(((hits * gain).sum(axis=1) / ideal)[asked].mean()),
        "P@10": float(hits.sum(axis=1)[asked].mean() / K),
        "R@10": float((hits.sum(axis=1)[asked] / count[asked]).mean()),
    }


def best_unseen(scores: npt.NDArray[np.floating], train: Part) -> npt.NDArray[np.int64]:
    """Return the K best items of each user that the train part knows and the user has not.

    Args:
        scores: [users, items].
        train: What is seen.
    """
    allowed = np.where(np.bincount(train.item, minlength=scores.shape[1]) > 0, 0.0, -np.inf)
    open_scores = scores.astype(np.float64) + allowed
    open_scores[train.user, train.item] = -np.inf
    # numpy's default order among ties is what the published popularity figures have.
    return np.argsort(-open_scores, axis=1)[:, :K]


def rmse(predicted: npt.NDArray[np.floating], test: Part) -> float:
    """Return √ mean (r̂ − r)², r̂ cut to the scale 1–5."""
    return float(np.sqrt(np.mean((np.clip(predicted, 1, 5) - test.rating) ** 2)))
