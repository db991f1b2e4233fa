import numpy as np
import tensorflow as tf

from components.ranking import rank_of, top_k


def test_rank_is_one_plus_the_strictly_better_items() -> None:
    scores = tf.constant([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]])
    # item 2 (0.5) is beaten by item 1 only: 1 + 1; item 1 is beaten by none.
    assert rank_of(scores, tf.constant([2, 1])).numpy().tolist() == [2.0, 1.0]


def test_ties_count_half() -> None:
    scores = tf.constant([[3.0, 1.0, 1.0, 1.0, 0.0]])
    # item 2: one better, two other items tied: 1 + 1 + 2/2 = 3.
    assert rank_of(scores, tf.constant([2])).numpy().tolist() == [3.0]


def test_a_constant_score_ranks_in_the_middle() -> None:
    # 9 items, 8 ties: 1 + 8/2 = 5, the middle of 1..9.
    assert rank_of(tf.zeros([1, 9]), tf.constant([0])).numpy().tolist() == [5.0]


def test_an_unknown_item_ranks_after_every_item() -> None:
    scores = tf.constant([[0.1, 0.9, 0.5]] * 3)
    assert rank_of(scores, tf.constant([-1, 3, 99])).numpy().tolist() == [4.0, 4.0, 4.0]


@tf.function
def in_a_graph(scores: tf.Tensor, item_index: tf.Tensor) -> tf.Tensor:
    """Rank as a SavedModel does: the graph's optimiser takes "not <=" for ">", also of NaN."""
    return rank_of(scores, item_index)


def test_an_item_whose_score_is_nan_ranks_after_every_item() -> None:
    scores = tf.constant([[np.nan, np.nan, np.nan], [0.3, np.nan, 0.1]], tf.float32)
    for rank in (rank_of, in_a_graph):
        assert rank(scores, tf.constant([0, 1])).numpy().tolist() == [4.0, 4.0]


def test_rank_agrees_with_sorting_when_there_are_no_ties() -> None:
    generator = np.random.default_rng(0)
    scores = generator.permuted(np.tile(np.arange(50.0, dtype=np.float32), (20, 1)), axis=1)
    items = generator.integers(0, 50, 20)
    expected = [
        list(np.argsort(-row)).index(item) + 1 for row, item in zip(scores, items, strict=True)
    ]
    assert rank_of(tf.constant(scores), tf.constant(items)).numpy().tolist() == expected


def test_chunks_give_the_same_ranks_as_the_whole() -> None:
    scores = tf.random.stateless_uniform([10, 30], seed=[1, 2])
    items = tf.range(10)
    chunks = [
        rank_of(scores[start : start + 3], items[start : start + 3]) for start in (0, 3, 6, 9)
    ]
    np.testing.assert_array_equal(tf.concat(chunks, 0), rank_of(scores, items))


def test_rank_works_in_a_graph_with_unknown_batch_size() -> None:
    signature = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int64)]
    traced = tf.function(rank_of, input_signature=signature)
    assert traced(tf.constant([[1.0, 2.0]]), tf.constant([0], tf.int64)).numpy().tolist() == [2.0]
    assert traced(tf.zeros([0, 4]), tf.zeros([0], tf.int64)).shape == (0,)


def test_top_k_is_exact_best_first_and_clipped_to_the_items_there_are() -> None:
    values, columns = top_k(tf.constant([[0.1, 0.9, 0.5]]), 2)
    assert columns.numpy().tolist() == [[1, 2]]
    np.testing.assert_allclose(values, [[0.9, 0.5]])
    assert top_k(tf.constant([[0.1, 0.9, 0.5]]), 10)[1].numpy().tolist() == [[1, 2, 0]]
