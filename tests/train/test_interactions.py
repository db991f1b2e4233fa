import numpy as np

from components.train.interactions import (
    DAY_US,
    Interactions,
    cut_baskets,
    histories,
    labels,
    select,
)


def log_of_two_users() -> Interactions:
    # User 0: item 1 at t=10, 2 and 3 together at t=20, 4 at t=30. User 1: 5 at t=20, 6 at t=40.
    return Interactions(
        owner=np.array([0, 0, 0, 0, 1, 1], np.int32),
        user=np.array([0, 0, 0, 0, 1, 1], np.int32),
        item=np.array([1, 2, 3, 4, 5, 6], np.int32),
        time_us=np.array([10, 20, 20, 30, 20, 40], np.int64),
    )


def test_a_basket_is_one_user_at_one_time() -> None:
    baskets = cut_baskets(log_of_two_users())
    assert list(zip(baskets.start, baskets.end, strict=True)) == [
        (0, 1), (1, 3), (3, 4), (4, 5), (5, 6),
    ]  # fmt: skip


def test_history_is_strictly_before_the_basket_and_of_its_user_alone() -> None:
    events = log_of_two_users()
    assert histories(events, cut_baskets(events), length=2).tolist() == [
        [-1, -1],
        [-1, 1],  # neither 2 nor 3: they are of the same moment
        [2, 3],
        [-1, -1],  # nothing of user 0
        [-1, 5],
    ]


def test_a_gap_hides_what_is_too_recent() -> None:
    events = log_of_two_users()
    # With a gap of 10 the history must end before t − 10: for t=30 before 20, so item 1 alone.
    assert histories(events, cut_baskets(events, gap_us=10), length=2).tolist() == [
        [-1, -1], [-1, -1], [-1, 1], [-1, -1], [-1, 5],
    ]  # fmt: skip


def test_many_users_over_many_years_keep_their_own_histories() -> None:
    # 40,000 users × 24 years are 3 · 10¹⁹ µs, and 64 bits hold 9 · 10¹⁸.
    users, years_us = 40_000, 24 * 365 * DAY_US
    owner = np.repeat(np.arange(users, dtype=np.int32), 2)
    time_us = np.tile(np.array([0, years_us], np.int64), users)
    events = Interactions(owner, owner, np.arange(2 * users, dtype=np.int32), time_us)
    seen = histories(events, cut_baskets(events), length=1)[:, 0]
    # The first event of a user has nothing before it, the second one has the first.
    assert (seen[0::2] == -1).all()
    assert (seen[1::2] == events.item[0::2]).all()


def test_no_label_is_ever_in_its_own_history() -> None:
    random = np.random.default_rng(0)
    owner = np.sort(random.integers(0, 20, 3000)).astype(np.int32)
    time_us = random.integers(0, 50, 3000)
    order = np.lexsort((time_us, owner))
    # Every event has an item of its own, so an item in both places can only be a leak.
    item = np.arange(3000, dtype=np.int32)
    events = Interactions(owner, owner, item, time_us[order])
    baskets = cut_baskets(events)
    seen = histories(events, baskets, length=300)
    query, label = labels(events, baskets)
    assert sorted(label) == list(range(3000))
    for row, own in zip(query, label, strict=True):
        past = seen[row][seen[row] >= 0]
        assert own not in past
        assert (events.time_us[past] < events.time_us[own]).all()
        assert (events.owner[past] == events.owner[own]).all()


def test_labels_of_chosen_baskets_are_numbered_by_their_place_in_the_batch() -> None:
    events = log_of_two_users()
    query, label = labels(events, select(cut_baskets(events), np.array([2, 1])))
    assert (query.tolist(), label.tolist()) == ([0, 1, 1], [4, 2, 3])


def test_no_events_make_no_baskets() -> None:
    nothing = np.zeros(0, np.int32)
    assert len(cut_baskets(Interactions(nothing, nothing, nothing, np.zeros(0, np.int64)))) == 0
