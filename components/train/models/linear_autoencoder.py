"""A denoising linear autoencoder in closed form: EASE and DLAE, with recency and repeat purchases.

Task: what does this user take next, given what they took before; the user's id is not read.

Shapes: B queries, L events of history, n items, U users of the train split; weights W [m, m] of the
m = min(`max_items`, items ever bought) most frequent items.

* Fit: X [U, m] is 1 where a user took an item, D the diagonal of the users' weights,
  d_u ∝ n_u^−`activity` with mean 1 for a user who took n_u items. The W with a zero diagonal that
  best reproduces X from an X of which a share p has been dropped at random,

      min_W ‖D^½ (X − X W)‖² + ‖Λ^½ W‖²  with  diag(W) = 0,
      Λ = λI + p / (1 − p) · diag(XᵀDX),

  is  W_ij = −P_ij / P_jj  for i ≠ j,  P = (XᵀDX + Λ)⁻¹. λ is `l2`, p is `dropout`; p = 0 and
  D = I are EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8),
  p > 0 is its denoising sibling (Steck, "Autoencoders that don't overfit towards the Identity",
  NeurIPS 2020, section 3).
* Query: x_j = Σ_{events e of the history with item j} (1 + age(e))^−`recency`, where age is the
  number of events since: what was taken often and lately weighs most.
* Score: s(h, i) = Σ_j x_j W_ji + `repeat` · x_i + `prior` · c_i / max c, where c_i counts the train
  events of i. The diagonal is zero so that an item is not explained by itself; where purchases
  repeat, that an item was taken before is evidence of its own, and `repeat` is its weight. The
  prior orders what the history says nothing about: every item for a stranger, and the items beyond
  the m for everyone.

Loss shown: ‖D^½ (X − XW)‖² / ‖D^½ X‖², the share of X that is not reproduced.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.linalg.lapack
import scipy.sparse
import tensorflow as tf

from components.errors import InputError
from components.study.space import Range, Space
from components.train.closed_form import ClosedForm, machine_memory_bytes, refuse_too_many_items
from components.train.hyperparameters import ModelSettings, below
from components.train.interactions import Interactions
from components.train.items import ItemTable
from components.train.repeats import read_history

# XᵀX sparse and dense, then P with a transposed copy of its triangle in float64, W in float32.
_BYTES_PER_CELL = 28


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearAutoencoderHyperparameters(ModelSettings):
    """Settings of the autoencoder; the defaults were chosen on the eval split of Complete Journey.

    Attributes:
        l2: λ, the weight of ‖W‖².
        dropout: p, the share of X that is dropped before it is to be reproduced, 0 ≤ p < 1: rare
            items are held back less than by λ, frequent ones more.
        activity: Power by which a user's weight falls with how many items they took; 0 for equal
            weights.
        max_items: Most items with weights, m; the model holds m² numbers of 4 bytes.
        history_length: Most recent events that are read.
        recency: Power by which an event's weight falls with its age; 0 for none.
        repeat: Weight of an item's own past; 0 leaves it to the other items.
        prior: Weight of the items' popularity.
    """

    l2: float = 1000.0
    dropout: float = below(1.0, default=0.0)
    activity: float = 0.0
    max_items: int = 5_000
    history_length: int = 256
    recency: float = 0.2
    repeat: float = 0.3
    prior: float = 0.001

    further_attempts = ({"dropout": 0.5}, {"dropout": 0.7, "activity": 0.5})
    search_space: ClassVar[Space] = {
        "l2": Range(10.0, 10_000.0, log=True),
        "dropout": Range(0.0, 0.9),
        "activity": Range(0.0, 1.0),
        "recency": Range(0.0, 1.0),
        "repeat": Range(0.0, 1.0),
        "prior": Range(0.0001, 0.1, log=True),
    }


class LinearAutoencoder(ClosedForm):
    """See the file's docstring."""

    def __init__(
        self, items: ItemTable, settings: LinearAutoencoderHyperparameters, *, seed: int
    ) -> None:
        """Choose the items with weights.

        Args:
            items: Item table; the vocabulary's rows are in order of frequency.
            settings: Hyper-parameters.
            seed: Not used: there is nothing random.

        Raises:
            InputError: If the weights of so many items do not fit into the memory.
        """
        del seed
        super().__init__(items)
        self.settings = settings
        self.history_length = settings.history_length
        self.weighted = min(settings.max_items, items.vocabulary)
        refuse_too_many_items(
            self.weighted, bytes_per_cell=_BYTES_PER_CELL, memory_bytes=machine_memory_bytes()
        )
        # No variable: nothing else than `index` reads it, so the SavedModel holds it once.
        self.item_weights: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self.built = True

    def remarks(self) -> tuple[str, ...]:
        """See `Retrieval.remarks`."""
        counts = self.items.counts
        left_out = np.count_nonzero(counts[self.weighted :])
        if not left_out:
            return ()
        share = counts[self.weighted :].sum() / counts.sum()
        return (
            f"{left_out:,} of {np.count_nonzero(counts):,} items bought, with {share:.1%} of the "
            "events, are beyond max_items: they have their popularity and repeats alone.",
        )

    def fit_events(self, events: Interactions) -> float:
        """See `ClosedForm.fit_events`."""
        taken = taken_items(events, items=self.weighted, activity=self.settings.activity)
        self.item_weights, unexplained = denoising_weights(
            taken, l2=self.settings.l2, dropout=self.settings.dropout
        )
        return unexplained

    def index(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the weights W, float32 [m, m], and the prior, float32 [n]."""
        counts = self.items.counts
        prior = self.settings.prior * counts / max(counts.max(), 1)
        return tf.constant(self.item_weights), tf.constant(prior, tf.float32)

    def score_all(
        self, user: tf.Tensor, history: tf.Tensor, vectors: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `Retrieval.score_all`."""
        place, age, _ = read_history(history, length=self.history_length)
        weight = (1.0 + tf.cast(age, tf.float32)) ** -self.settings.recency
        count, place = tf.shape(user, tf.int64)[0], tf.cast(place, tf.int64)
        known = place[:, 1] < self.weighted
        taken = tf.SparseTensor(
            tf.boolean_mask(place, known),
            tf.boolean_mask(weight, known),
            tf.stack([count, tf.constant(self.weighted, tf.int64)]),
        )
        found = tf.sparse.sparse_dense_matmul(taken, vectors)
        rest = len(self.items) - self.weighted
        scores = tf.pad(found, [[0, 0], [0, rest]]) + bias
        return tf.tensor_scatter_nd_add(scores, place, self.settings.repeat * weight)


def taken_items(events: Interactions, *, items: int, activity: float) -> scipy.sparse.csr_array:
    """Return D^½ X, sparse float32 [users, items]; no later items. X is 1 where a user took one."""
    taken = events.item < items
    where = (events.owner[taken], events.item[taken])
    shape = (int(events.owner.max()) + 1, items)
    counts = scipy.sparse.csr_array((np.ones(taken.sum(), np.float32), where), shape=shape)
    counts.sum_duplicates()
    per_user = np.diff(counts.indptr)
    weight = np.maximum(per_user, 1.0) ** -activity
    weight /= weight[per_user > 0].mean()
    counts.data = np.repeat(np.sqrt(weight), per_user).astype(np.float32)
    return counts


def ridge(gram: npt.NDArray[Any], *, l2: float, dropout: float) -> npt.NDArray[Any]:
    """Return the diagonal of Λ = λI + p / (1 − p) · diag(gram), [m]."""
    return np.asarray(l2 + dropout / (1 - dropout) * np.diag(gram))


def regularised_inverse(
    gram: npt.NDArray[Any], diagonal: npt.NDArray[Any], *, l2: float
) -> npt.NDArray[Any]:
    """Return (gram + Λ)⁻¹.

    Args:
        gram: A symmetric matrix [m, m] in Fortran order, float32 or float64; it is overwritten.
        diagonal: Of Λ, [m].
        l2: λ in it, which an error names.

    Raises:
        InputError: If there is no inverse.
    """
    gram[np.diag_indices_from(gram)] += diagonal
    factorise, invert = scipy.linalg.lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, failed = factorise(gram, lower=1, overwrite_a=1)
    if failed:
        raise InputError("hyperparameter l2", f"{l2:g}, XᵀX + Λ has no inverse", "a larger one")
    inverse, _ = invert(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    return np.asarray(inverse)


def denoising_weights(
    taken: scipy.sparse.csr_array, *, l2: float, dropout: float
) -> tuple[npt.NDArray[np.float32], float]:
    """Solve for the weights.

    Args:
        taken: D^½ X, [users, m].
        l2: λ.
        dropout: p.

    Returns:
        W, float32 [m, m], and ‖D^½ (X − XW)‖² / ‖D^½ X‖².

    Raises:
        InputError: If XᵀDX + Λ is singular.
    """
    gram = np.asfortranarray((taken.T @ taken).toarray(), np.float64)
    total = float(np.trace(gram))
    penalty = ridge(gram, l2=l2, dropout=dropout)
    inverse = regularised_inverse(gram, penalty, l2=l2)
    diagonal = np.diag(inverse).copy()
    # ‖D^½ (X − XW)‖² = Σ_j (P_jj − Σ_i Λ_ii P_ij²) / P_jj², because X − XW = X P diag(1/P_jj) and
    # P XᵀDX P = P − P Λ P.
    squares = np.einsum("ij,i,ij->j", inverse, penalty, inverse)
    unexplained = float(((diagonal - squares) / diagonal**2).sum()) / max(total, 1.0)
    inverse /= -diagonal
    np.fill_diagonal(inverse, 0.0)
    return inverse.astype(np.float32), unexplained
