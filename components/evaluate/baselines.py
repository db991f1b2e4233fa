"""Simple rivals every model is measured against, on the same examples by the same metrics.

Each is fitted on train + eval, the events a model's history may hold, and ranks every catalogue
item; none is ever asked about another set of items than its rivals, and none is forbidden to
recommend what a user bought before, because neither are the models.

* popularity: how many events an item has.
* household_frequency: how often this user had this item; equal counts, and items the user never
  had, in order of popularity. In groceries this one is hard to beat.
* item_cooccurrence: item-item collaborative filtering with the cosine similarity of the items'
  user sets,
      sim(i, j) = |U_i ∩ U_j| / √(|U_i| |U_j|),
      score(u, i) = Σ_{j ∈ history(u), j ≠ i} sim(i, j)
  (Deshpande & Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004, §4.1.1).
  The pair (i, i) is left out: its similarity of 1 says nothing but "was bought before", which is
  household_frequency's knowledge. An item bought before still scores through the user's other
  items. `history` is all the user's distinct items, more than the 200 events a model is shown.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse

from components.splits import scan_catalogue, scan_split

Scores = npt.NDArray[np.float32]

BASELINES = ("popularity", "household_frequency", "item_cooccurrence")
_USERS_AT_ONCE = 64
# What is left of sim(i, i) − 1 in float32; no real similarity of a shop is this small.
_ROUNDING = 1e-5


class Baselines:
    """The three baselines over one catalogue."""

    def __init__(self, purchases: pl.DataFrame, items: pl.Series) -> None:
        """Count what the baselines need.

        Args:
            purchases: user and item of every known event.
            items: Every item that can be recommended, distinct; events with another item count
                for nothing.
        """
        self._items = pl.DataFrame({"item": items}).with_row_index("column")
        users = purchases.select(pl.col("user").unique(maintain_order=True))
        self._users = users.with_row_index("row")
        counts = (
            purchases.group_by("user", "item")
            .agg(events=pl.len())
            .join(self._items, on="item")
            .join(self._users, on="user")
        )
        # One row more than there are users: a user without events is the last, empty one.
        shape = (self._users.height + 1, self._items.height)
        where = (counts["row"].to_numpy(), counts["column"].to_numpy())
        events = counts["events"].to_numpy().astype(np.float32)
        self._counts = scipy.sparse.csr_array((events, where), shape=shape)
        self._popularity = np.asarray(self._counts.sum(axis=0)).ravel().astype(np.float32)
        # Place among the distinct popularities: count · places + place orders by count, then by
        # popularity, and is exact in float32 up to 2²⁴.
        self._place = np.unique(self._popularity, return_inverse=True)[1].astype(np.float32)
        self._owned = self._counts.copy()
        self._owned.data[:] = 1.0
        buyers = np.maximum(np.asarray(self._owned.sum(axis=0)).ravel(), 1.0)
        # With X the user × item matrix whose columns are divided by √|U_i|, sim = XᵀX, and
        # Σ_j h_j sim(j, ·) = (h Xᵀ) X needs no item × item matrix.
        scaled = self._owned @ scipy.sparse.diags_array((buyers**-0.5).astype(np.float32))
        self._scaled_by_item = scaled.T.tocsr()

    def scores(self, users: pl.Series) -> dict[str, Scores]:
        """Return each baseline's score of every item, float32 [users, items], by its name.

        For a user without any event popularity and household_frequency are the same, and
        co-occurrence, which then knows nothing, scores every item 0.
        """
        found = users.to_frame("user").join(
            self._users, on="user", how="left", maintain_order="left"
        )
        row = found["row"].fill_null(self._users.height).to_numpy()
        owned = self._owned[row]
        weights = (owned @ self._scaled_by_item).toarray()
        cooccurrence = np.ascontiguousarray((self._scaled_by_item @ weights.T).T)
        bought = owned.nonzero()
        others = cooccurrence[bought] - 1.0  # sim(i, i) = 1
        cooccurrence[bought] = np.where(others < _ROUNDING, 0.0, others)
        return {
            "popularity": np.broadcast_to(self._popularity, cooccurrence.shape),
            "household_frequency": self._counts[row].toarray() * (self._place.max() + 1)
            + self._place,
            "item_cooccurrence": cooccurrence,
        }

    def ranks(self, examples: pl.DataFrame) -> pl.DataFrame:
        """Return the rank of each example's item by each baseline.

        Args:
            examples: user and item, sorted by user, [examples].

        Returns:
            One float32 column per baseline, in the examples' order.
        """
        indexed = examples.select("user", "item").join(
            self._items, on="item", how="left", maintain_order="left"
        )
        columns = indexed["column"].cast(pl.Int64).fill_null(-1).to_numpy()
        ranks = {name: np.empty(len(columns), np.float32) for name in BASELINES}
        for users, bounds in _user_chunks(indexed["user"]):
            for name, scores in self.scores(users).items():
                for row, begin, end in zip(scores, bounds[:-1], bounds[1:], strict=True):
                    ranks[name][begin:end] = ranks_in_row(row, columns[begin:end])
        return pl.DataFrame(ranks)


def ranks_in_row(scores: Scores, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return what `components.ranking.rank_of` returns, for many items of one user at once.

    The models' function compares a row of scores with one item; a household's examples share the
    row, and repeating it for each of them costs more than everything else here.

    Args:
        scores: Score of every item, [n].
        columns: Items to rank, [examples]; outside [0, n) means not indexed.

    Returns:
        1 + better + ½ tied, [examples]; n + 1 for an item that is not indexed.
    """
    known = (columns >= 0) & (columns < len(scores))
    own = scores[np.where(known, columns, 0)][:, np.newaxis]
    better = np.count_nonzero(scores > own, axis=1)
    tied = np.count_nonzero(scores == own, axis=1) - 1
    return np.where(known, 1.0 + better + 0.5 * tied, len(scores) + 1.0).astype(np.float32)


def _user_chunks(users: pl.Series) -> Iterator[tuple[pl.Series, npt.NDArray[np.int64]]]:
    """Yield some distinct users, and where the rows of each begin, with the end of the last."""
    runs = users.rle().struct.unnest()
    bounds = np.concatenate([[0], runs["len"].to_numpy().astype(np.int64).cumsum()])
    for first in range(0, runs.height, _USERS_AT_ONCE):
        last = min(first + _USERS_AT_ONCE, runs.height)
        yield runs["value"][first:last], bounds[first : last + 1]


def fit_baselines(events_dir: Path, catalogue_dir: Path) -> Baselines:
    """Fit the baselines on train + eval over every item of the catalogue."""
    purchases = scan_split(events_dir, "train", "eval").select("user", "item").collect()
    items = scan_catalogue(catalogue_dir).select(pl.col("item").unique())
    return Baselines(purchases, items.collect()["item"].sort())
