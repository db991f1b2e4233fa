"""SLIST: a linear model of sequences in closed form.

Task: what does this user take next, given what they took before and how long ago; the user's id is
not read.

Shapes: U users, E events that have a predecessor, m items with weights, as in
`linear_autoencoder.py`, whose query, score, repeats and prior it has.

* Fit: X [U, m] is 1 where a user took an item. T [E, m] is 1 where the event's own item is, and
  S [E, m] holds what its user took before, each event weighted by its age as in a query. The W with
  a zero diagonal that best says both what goes together and what comes next,

      min_W α ‖X − X W‖² + ‖T − S W‖² + λ ‖W‖²  with  diag(W) = 0,

  is  W = P R − P diag(μ),  P = (α XᵀX + SᵀS + λI)⁻¹,  R = α XᵀX + SᵀT,  μ_j = (P R)_jj / P_jj.
  α is `together`, λ is `l2`. `activity` and `dropout` are those of `linear_autoencoder.py`: D
  stands between Xᵀ and X, and p / (1 − p) · diag(α XᵀDX + SᵀS) beside λI.

Model: SLIST of Choi et al., "Session-aware Linear Item-Item Models for Session-based
Recommendation" (WWW 2021), with the next item alone as T; the zero diagonal is that of Steck (WWW
2019), eq. 8.

Loss shown: ‖T − SW‖² / ‖T‖² over a thousand events, spread evenly.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse

from components.errors import InputError
from components.study.space import Range, Space
from components.train.interactions import Interactions, last_items
from components.train.models.linear_autoencoder import (
    LinearAutoencoder,
    LinearAutoencoderHyperparameters,
    regularised_inverse,
    ridge,
    taken_items,
)

_EVENTS_AT_ONCE = 100_000
_LOSS_EVENTS = 1_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlistHyperparameters(LinearAutoencoderHyperparameters):
    """Settings of the model; the defaults were chosen on the validation items of Amazon Beauty.

    Attributes:
        l2: λ, the weight of ‖W‖².
        history_length: Most recent events that are read.
        recency: Power by which an event's weight falls with its age.
        together: α, the weight of what goes together beside what comes next.
    """

    l2: float = 60.0
    history_length: int = 50
    recency: float = 1.0
    together: float = 0.5

    further_attempts = ({"dropout": 0.5}, {"dropout": 0.5, "together": 2.0})
    search_space: ClassVar[Space] = {
        "l2": Range(1.0, 10_000.0, log=True),
        "recency": Range(0.0, 2.0),
        "repeat": Range(0.0, 1.0),
        "together": Range(0.0, 1.0),
    }


class Slist(LinearAutoencoder):
    """See the file's docstring."""

    settings: SlistHyperparameters

    def fit_events(self, events: Interactions) -> float:
        """See `ClosedForm.fit_events`; refuses a log in which nothing follows anything."""
        place = np.flatnonzero(np.diff(events.owner) == 0) + 1
        if not len(place):
            raise InputError("train split", "no user with two events", "sequences to learn from")
        before, following = self.steps(events, place)
        taken = taken_items(events, items=self.weighted, activity=self.settings.activity)
        both = (self.settings.together * (taken.T @ taken)).tocsr()
        gram = np.asfortranarray((both + before.T @ before).toarray(), np.float32)
        penalty = ridge(gram, l2=self.settings.l2, dropout=self.settings.dropout)
        inverse = regularised_inverse(gram, penalty, l2=self.settings.l2)
        weights = inverse @ (both + before.T @ following).toarray().astype(np.float32)
        inverse *= np.diag(weights) / np.diag(inverse)
        weights -= inverse
        np.fill_diagonal(weights, 0.0)
        self.item_weights = weights
        some = np.linspace(0, before.shape[0] - 1, min(_LOSS_EVENTS, before.shape[0])).astype(int)
        rest = following[some].toarray() - before[some] @ weights
        return float((rest**2).sum() / max(following[some].sum(), 1.0))

    def steps(
        self, events: Interactions, place: npt.NDArray[np.int64]
    ) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
        """Return S and T, sparse float32 [len(place), m] both, for events at these places."""
        first = np.flatnonzero(np.diff(events.owner, prepend=-1) != 0)
        start = first[np.searchsorted(first, place, side="right") - 1]
        age = np.arange(self.history_length - 1, -1, -1)
        weight = ((1.0 + age) ** -self.settings.recency).astype(np.float32)
        parts = []
        for chunk in range(0, len(place), _EVENTS_AT_ONCE):
            part = slice(chunk, chunk + _EVENTS_AT_ONCE)
            past = last_items(events, start[part], place[part], length=self.history_length)
            row, column = np.nonzero((past >= 0) & (past < self.weighted))
            where = (row, past[row, column])
            parts.append(
                scipy.sparse.csr_array((weight[column], where), shape=(len(past), self.weighted))
            )
        row = np.flatnonzero(events.item[place] < self.weighted)
        following = scipy.sparse.csr_array(
            (np.ones(len(row), np.float32), (row, events.item[place][row])),
            shape=(len(place), self.weighted),
        )
        return scipy.sparse.vstack(parts, format="csr"), following
