import tensorflow as tf

from components.train.repeats import band, read_history


def described(history: list[list[int]], *, length: int) -> set[tuple[int, int, int, int]]:
    place, age, occurrence = read_history(tf.constant(history, tf.int32), length=length)
    return {
        (int(p[0]), int(p[1]), int(a), int(o))
        for p, a, o in zip(place.numpy(), age.numpy(), occurrence.numpy(), strict=True)
    }


def test_age_counts_events_since_and_occurrence_counts_purchases_since() -> None:
    # Oldest first: 7, 9, 7. The last 7 is age 0 and occurrence 0, the first 7 age 2, occurrence 1.
    assert described([[7, 9, 7]], length=10) == {(0, 7, 0, 0), (0, 9, 1, 0), (0, 7, 2, 1)}


def test_padding_anywhere_changes_nothing() -> None:
    assert described([[-1, 7, -1, 9, 7, -1]], length=10) == described([[7, 9, 7]], length=10)


def test_only_the_most_recent_events_are_read() -> None:
    assert described([[7, 9, 7]], length=2) == {(0, 7, 0, 0), (0, 9, 1, 0)}


def test_an_empty_history_is_no_events() -> None:
    assert described([[-1, -1], [-1, -1]], length=2) == set()
    assert read_history(tf.zeros([2, 0], tf.int32), length=2)[0].shape == (0, 2)


def test_bands_double() -> None:
    assert band(tf.constant([0, 1, 2, 3, 4, 7, 8, 999]), bands=5).numpy().tolist() == [
        0, 1, 2, 2, 3, 3, 4, 4,
    ]  # fmt: skip
