"""Which of the model's candidates may be shown; pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OUT_OF_STOCK, BOUGHT, EXCLUDED = "out_of_stock", "bought", "excluded"


@dataclass(frozen=True)
class Kept:
    """What the filters left.

    Attributes:
        rows: Positions of the candidates that stay, in the model's order.
        removed: Candidates removed, by the first reason that held.
    """

    rows: Sequence[int]
    removed: Mapping[str, int]


def keep(
    items: Sequence[str],
    *,
    in_stock: npt.NDArray[np.bool_],
    bought: Collection[str],
    excluded: Collection[str],
) -> Kept:
    """Remove what must not be recommended.

    Args:
        items: The candidates, best first.
        in_stock: Whether each can be sold, shape [items].
        bought: Items not to be offered again to this user.
        excluded: Items the request does not want.
    """
    rows: list[int] = []
    removed = {OUT_OF_STOCK: 0, BOUGHT: 0, EXCLUDED: 0}
    for row, item in enumerate(items):
        if item in excluded:
            removed[EXCLUDED] += 1
        elif item in bought:
            removed[BOUGHT] += 1
        elif not in_stock[row]:
            removed[OUT_OF_STOCK] += 1
        else:
            rows.append(row)
    return Kept(rows, removed)


def fetch_size(k: int, *, overfetch: float, removable: int, most: int) -> int:
    """Return how many candidates to ask the model for, so that k are left after the filters.

    Args:
        k: Items wanted, ≥ 1.
        overfetch: Candidates per item wanted, ≥ 1.
        removable: Items known beforehand to be removed when the model offers them.
        most: The most the predictor answers with, ≥ k.
    """
    return min(max(int(np.ceil(k * overfetch)), k + removable), most)
