"""From a user's question to the question for the model, and from its candidates to the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.protocol.request import Batch, InputSpec
from serving.transformer.cache import Row
from serving.transformer.diversity import rerank
from serving.transformer.features import ItemFeatures
from serving.transformer.filters import fetch_size, keep
from serving.transformer.settings import Settings

SIGNATURE = "recommend"
INPUTS = (
    InputSpec("exclude", "string", repeated=True, default=[]),
    InputSpec("history", "string", repeated=True, default=[]),
    InputSpec("k", "integer", default=10),
    InputSpec("user", "string", default=""),
)


@dataclass(frozen=True)
class Wish:
    """One row of a request.

    Attributes:
        user: User id, "" for nobody known.
        history: The user's items as the request says them, the most recent last.
        k: Items wanted.
        exclude: Items not wanted.
    """

    user: str
    history: Sequence[str]
    k: int
    exclude: frozenset[str]


@dataclass(frozen=True)
class Question:
    """What the model is asked for one row.

    Attributes:
        user: User id.
        history: The request's history, else the one looked up.
        fetch: Candidates wanted.
        bought: Items not to be offered again.
    """

    user: str
    history: Sequence[str]
    fetch: int
    bought: frozenset[str]


@dataclass(frozen=True)
class Selection:
    """The answer to one row.

    Attributes:
        row: Items and the model's scores, in the order to show them.
        removed: Candidates the filters removed, by reason.
    """

    row: Row
    removed: Mapping[str, int]


def wishes(batch: Batch) -> list[Wish]:
    """Return the rows of a checked request."""
    columns = batch.columns
    return [
        Wish(
            columns["user"][row].decode(),
            [item.decode() for item in columns["history"][row] if item],
            columns["k"][row],
            frozenset(item.decode() for item in columns["exclude"][row] if item),
        )
        for row in range(batch.rows)
    ]


def question(wish: Wish, looked_up: Sequence[str], settings: Settings) -> Question:
    """Return what to ask the model.

    Args:
        wish: The request's row.
        looked_up: The user's history from the look-up, as long as it is.
        settings: The transformer's settings.
    """
    history = wish.history or looked_up[-settings.history_length :]
    bought = frozenset((*wish.history, *looked_up)) if settings.filter_bought else frozenset()
    fetch = fetch_size(
        wish.k,
        overfetch=settings.overfetch,
        removable=len(bought | wish.exclude),
        most=settings.max_fetch,
    )
    return Question(wish.user, history, fetch, bought)


def body(questions: Sequence[Question]) -> dict[str, object]:
    """Return the v1 request for some questions.

    Every input is said, and histories have one length, so that TensorFlow Serving takes it too.
    """
    width = max(1, *(len(question.history) for question in questions))
    return {
        "signature_name": SIGNATURE,
        "instances": [
            {
                "user": question.user,
                "history": [""] * (width - len(question.history)) + list(question.history),
                "k": question.fetch,
            }
            for question in questions
        ],
    }


def select(
    candidates: Row, features: ItemFeatures, wish: Wish, asked: Question, settings: Settings
) -> Selection:
    """Filter, re-rank and cut the model's candidates.

    Args:
        candidates: The model's answer, best first.
        features: Of the candidates.
        wish: The request's row.
        asked: What the model was asked for it.
        settings: The transformer's settings.
    """
    kept = keep(
        candidates.items, in_stock=features.in_stock, bought=asked.bought, excluded=wish.exclude
    )
    scores = np.asarray(candidates.scores, dtype=np.float64)[np.asarray(kept.rows, dtype=np.intp)]
    chosen = rerank(
        scores,
        features.take(kept.rows),
        k=wish.k,
        weight=settings.mmr_lambda,
        category_cap=settings.category_cap,
    )
    rows = [kept.rows[position] for position in chosen]
    row = Row([candidates.items[r] for r in rows], [candidates.scores[r] for r in rows])
    return Selection(row, kept.removed)
