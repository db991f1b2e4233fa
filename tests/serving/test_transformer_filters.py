"""The filters and the re-ranking by worked numbers and by properties; no server."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.transformer.cache import Row
from serving.transformer.diversity import rerank
from serving.transformer.features import ItemFeatures
from serving.transformer.filters import fetch_size, keep
from serving.transformer.recommend import Question, Selection, Wish, body, question, select
from serving.transformer.settings import Settings

PLAIN = Settings("shop", "127.0.0.1:1")


def features(categories: list[str | None], vectors: list[list[float]] | None = None):
    stock = np.ones(len(categories), dtype=np.bool_)
    table = None if vectors is None else np.array(vectors, dtype=np.float32)
    return ItemFeatures(categories, stock, table)


def chosen(scores: list[float], known: ItemFeatures, *, k: int, weight: float, cap: int = 0):
    return rerank(np.array(scores), known, k=k, weight=weight, category_cap=cap)


def test_a_candidate_goes_by_the_first_reason_that_holds_and_the_order_stays():
    kept = keep(
        ["a", "b", "c", "d", "e"],
        in_stock=np.array([True, False, False, True, True]),
        bought={"c", "d"},
        excluded={"d"},
    )
    assert kept.rows == [0, 4]
    # d is excluded though also bought; c is bought though also out of stock; b is out of stock.
    assert kept.removed == {"excluded": 1, "bought": 1, "out_of_stock": 1}


@pytest.mark.parametrize(
    ("k", "overfetch", "removable", "expected"),
    [
        (10, 5.0, 0, 50),
        (10, 5.0, 45, 55),  # all 45 may be among the best, and 10 are wanted
        (10, 1.0, 0, 10),
        (3, 1.5, 0, 5),  # 4.5, rounded up
        (100, 5.0, 0, 200),  # as many as the predictor answers with
        (10, 1.0, 500, 200),
    ],
)
def test_so_many_candidates_are_asked_for_that_k_are_left(k, overfetch, removable, expected):
    assert fetch_size(k, overfetch=overfetch, removable=removable, most=200) == expected


def test_mmr_by_category_weighs_a_similar_item_down():
    # Relevance (s - 0) / 4: 1, 0.75, 0.5, 0; λ = 0.5.
    # 1st: 0.5, 0.375, 0.25, 0                             → 0 (tea)
    # 2nd: 0.375 - 0.5·1 = -0.125, 0.25, 0                 → 2 (jam)
    # 3rd: -0.125, 0                                       → 3 (salt), then 1
    known = features(["tea", "tea", "jam", "salt"])
    assert chosen([4, 3, 2, 0], known, k=4, weight=0.5) == [0, 2, 3, 1]
    assert chosen([4, 3, 2, 0], known, k=2, weight=0.5) == [0, 2]
    # λ = 0.875: 2nd: 0.875·0.75 - 0.125·1 = 0.53125 beats 0.875·0.5 = 0.4375.
    assert chosen([4, 3, 2, 0], known, k=4, weight=0.875) == [0, 1, 2, 3]


def test_mmr_by_vectors_uses_the_largest_cosine_to_what_is_chosen():
    # Relevance 1, 0.5, 0; cosines to row 0: row 1 (3, 4)·(2, 0) / (5·2) = 0.6, row 2: 0.
    # 2nd: 0.5·0.5 - 0.5·0.6 = -0.05 loses against 0.
    known = features([None, None, None], [[2, 0], [3, 4], [0, 7]])
    assert chosen([2, 1, 0], known, k=3, weight=0.5) == [0, 2, 1]


def test_mmr_falls_back_on_the_category_where_a_vector_is_missing():
    # Row 1 has no vector but row 0's category: similarity 1. Row 2 is in another one: 0.
    # 2nd: 0.5·0.5 - 0.5·1 = -0.25 loses against 0.
    known = features(["tea", "tea", "jam"], [[1, 0], [0, 0], [0, 0]])
    assert chosen([2, 1, 0], known, k=3, weight=0.5) == [0, 2, 1]


def test_items_without_a_category_are_unlike_each_other_and_not_capped():
    known = features([None, None, None])
    assert chosen([3, 2, 1], known, k=3, weight=0.1, cap=1) == [0, 1, 2]


def test_equal_scores_keep_the_models_order_but_for_diversity():
    known = features(["tea", "tea", "jam"])
    assert chosen([7, 7, 7], known, k=3, weight=0.5) == [0, 2, 1]


@pytest.mark.parametrize(
    ("cap", "k", "expected"),
    [(2, 3, [0, 1, 3]), (1, 3, [0, 3]), (3, 3, [0, 1, 2]), (0, 4, [0, 1, 2, 3])],
)
def test_cap_allows_so_many_of_a_category_and_then_answers_short(cap, k, expected):
    known = features(["tea", "tea", "tea", "jam"])
    assert chosen([4, 3, 2, 1], known, k=k, weight=1.0, cap=cap) == expected


def test_nothing_to_choose_from_is_nothing_chosen():
    assert chosen([], features([]), k=5, weight=0.5, cap=1) == []


def test_history_of_the_request_goes_before_the_looked_up_one_which_is_cut_at_its_old_end():
    settings = Settings("shop", "h", history_length=2, filter_bought=True)
    known = ["old", "a", "b"]
    assert question(Wish("u", [], 10, frozenset()), known, settings) == Question(
        "u", ["a", "b"], 50, frozenset(known)
    )
    # What was bought is both; the model sees the session's history only.
    assert question(Wish("u", ["c"], 1, frozenset({"x"})), known, settings) == Question(
        "u", ["c"], 6, frozenset({"old", "a", "b", "c"})
    )  # 1 wanted, 4 bought, 1 excluded: 6 candidates


def test_question_has_every_input_and_histories_of_one_length():
    asked = [Question("u", ["a", "b"], 5, frozenset()), Question("", [], 7, frozenset())]
    assert body(asked) == {
        "signature_name": "recommend",
        "instances": [
            {"user": "u", "history": ["a", "b"], "k": 5},
            {"user": "", "history": ["", ""], "k": 7},
        ],
    }


ITEMS = [f"i{n}" for n in range(12)]
CATEGORIES = st.one_of(st.none(), st.sampled_from(["tea", "jam", "salt"]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Row, ItemFeatures, Wish, Question, Settings]:
    items = draw(st.lists(st.sampled_from(ITEMS), unique=True, max_size=12))
    number = len(items)
    scores = draw(st.lists(st.integers(-5, 5), min_size=number, max_size=number))
    scores = sorted((float(score) for score in scores), reverse=True)
    stock = draw(st.lists(st.booleans(), min_size=number, max_size=number))
    categories = draw(st.lists(CATEGORIES, min_size=number, max_size=number))
    entry = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    vectors = draw(st.none() | st.lists(entry, min_size=number, max_size=number))
    known = ItemFeatures(
        categories,
        np.array(stock, dtype=np.bool_),
        None if vectors is None else np.array(vectors, dtype=np.float32).reshape(number, 2),
    )
    some = st.frozensets(st.sampled_from(ITEMS), max_size=4)
    wish = Wish("u", [], draw(st.integers(1, 8)), draw(some))
    asked = Question("u", [], 50, draw(some))
    settings = Settings(
        "shop",
        "h",
        items="x",
        category_column="c",
        stock_column="s",
        mmr_lambda=draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        category_cap=draw(st.integers(0, 3)),
    )
    return Row(items, scores), known, wish, asked, settings


def allowed(candidates: Row, known: ItemFeatures, wish: Wish, asked: Question) -> list[str]:
    banned = wish.exclude | asked.bought
    return [
        item
        for item, stock in zip(candidates.items, known.in_stock, strict=True)
        if stock and item not in banned
    ]


@given(cases())
def test_an_answer_never_holds_a_filtered_item_nor_breaks_the_cap_nor_is_padded(case):
    candidates, known, wish, asked, settings = case
    selection: Selection = select(*case)
    items = selection.row.items
    left = allowed(candidates, known, wish, asked)
    assert len(items) <= wish.k and len(set(items)) == len(items)
    assert set(items) <= set(left)
    assert sum(selection.removed.values()) == len(candidates.items) - len(left)
    category = dict(zip(candidates.items, known.categories, strict=True))
    counts = [sum(category[i] == name for i in items) for name in ("tea", "jam", "salt")]
    if settings.category_cap:
        assert max(counts) <= settings.category_cap
    else:
        assert len(items) == min(wish.k, len(left))
    # Short only when nothing more may be added.
    if len(items) < wish.k:
        full = [n for n, c in zip(("tea", "jam", "salt"), counts, strict=True)
                if settings.category_cap and c == settings.category_cap]  # fmt: skip
        assert all(category[item] in full for item in set(left) - set(items))
    score = dict(zip(candidates.items, candidates.scores, strict=True))
    assert list(selection.row.scores) == [score[item] for item in items]


@given(cases())
def test_full_weight_without_a_cap_is_the_models_order(case):
    candidates, known, wish, asked, _ = case
    items = select(candidates, known, wish, asked, PLAIN).row.items
    assert list(items) == allowed(candidates, known, wish, asked)[: wish.k]


@given(cases())
def test_re_ranking_is_the_formula_written_out(case):
    candidates, known, wish, _, settings = case
    scores, n = candidates.scores, len(candidates.items)
    spread = max(scores, default=0) - min(scores, default=0)
    relevance = [(s - min(scores)) / spread if spread else 1.0 for s in scores]

    def similar(a: int, b: int) -> float:
        if known.vectors is not None and known.vectors[a].any() and known.vectors[b].any():
            x, y = known.vectors[a].tolist(), known.vectors[b].tolist()
            lengths = (sum(v * v for v in x) * sum(v * v for v in y)) ** 0.5
            return sum(v * w for v, w in zip(x, y, strict=True)) / lengths
        return float(known.categories[a] is not None and known.categories[a] == known.categories[b])

    weight, cap = settings.mmr_lambda, settings.category_cap
    picked: list[int] = rerank(np.array(scores), known, k=wish.k, weight=weight, category_cap=cap)
    for step, row in enumerate(picked):
        before = picked[:step]
        value = {
            r: weight * relevance[r]
            - (1 - weight) * max((similar(r, s) for s in before), default=0.0)
            for r in range(n)
            if r not in before
            and not (
                cap
                and known.categories[r] is not None
                and sum(known.categories[s] == known.categories[r] for s in before) >= cap
            )
        }
        # Within rounding of the best; which of equals is a matter of the last bit.
        assert value[row] >= max(value.values()) - 1e-9
