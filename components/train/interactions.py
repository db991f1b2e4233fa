"""The events as arrays, and baskets cut out of them: what was bought together, and what before.

All index arithmetic: an event's history is a slice of the array of its user's events, so that no
history is ever copied before its batch is made.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
DAY_US = 86_400_000_000


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Events ordered by user, then time, then their order in the log.

    Attributes:
        owner: Number of the user in this log, [events]; unknown users stay apart here.
        user: `user_id` of the transform graph, [events]; unknown users share OOV buckets.
        item: Row in the item table, [events].
        time_us: Microseconds since 1970, [events].
        rating: How the user rated the item, NaN when they did not, [events]; None when the log has
            no ratings.
        first: Number of the first event here, when these are a shard of a longer log.
    """

    owner: Int32
    user: Int32
    item: Int32
    time_us: Int64
    rating: npt.NDArray[np.float32] | None = None
    first: int = 0

    def __len__(self) -> int:
        """Number of events."""
        return len(self.user)

    def random(self, *, seed: int, epoch: int) -> np.random.Generator:
        """Return the source of an epoch's random choices about these events, and no others."""
        return np.random.default_rng([seed, epoch, self.first])

    def step_seed(self, number: int, *, seed: int, epoch: int) -> Int32:
        """Return the seed, [2], of the random numbers of a step with these events."""
        return np.array([(seed + epoch) % 2**31, (self.first + number) % 2**31], np.int32)


@dataclasses.dataclass(frozen=True)
class Baskets:
    """One user's events of one moment each: a query, and its right answers.

    Attributes:
        user: `user_id`, [baskets].
        history_start: First event of the user, [baskets].
        history_end: One past the last event that the query may see, [baskets].
        start: First event of the basket itself, [baskets].
        end: One past its last event, [baskets].
    """

    user: Int32
    history_start: Int64
    history_end: Int64
    start: Int64
    end: Int64

    def __len__(self) -> int:
        """Number of baskets."""
        return len(self.user)


def cut_baskets(
    events: Interactions, *, gap_us: Int64 | int = 0, since_us: int | None = None
) -> Baskets:
    """Cut the events into baskets: equal user, equal time.

    Args:
        events: Ordered interactions.
        gap_us: Time between the end of what a query may see and its basket, one number or one per
            event; 0 ends the history strictly before the basket's own time, so that no label is in
            its own history, and a gap imitates a model that is asked days after its data ended.
        since_us: Only baskets from this time on; earlier events are history alone.

    Returns:
        The baskets in the order of the events.
    """
    count = len(events)
    if count == 0:
        nothing = np.zeros(0, np.int64)
        return Baskets(events.user, nothing, nothing, nothing, nothing)
    new_user = np.diff(events.owner, prepend=-1) != 0
    start = np.flatnonzero(new_user | (np.diff(events.time_us, prepend=-1) != 0))
    end = np.append(start[1:], count)
    user_start = np.flatnonzero(new_user)
    history_start = user_start[np.cumsum(new_user)[start] - 1]
    gap = np.broadcast_to(np.asarray(gap_us, np.int64), (count,))[start]
    history_end = _first_not_before(
        events.time_us, history_start, start, events.time_us[start] - gap
    )
    baskets = Baskets(events.user[start], history_start, history_end, start, end)
    return baskets if since_us is None else select(baskets, events.time_us[start] >= since_us)


def _first_not_before(time_us: Int64, low: Int64, high: Int64, until_us: Int64) -> Int64:
    """Return the first event of each slice whose time is not before a moment, else the slice's end.

    A binary search in all slices at once. One search over (user, time) as a single number would not
    do: microseconds of some years times ten thousand users do not fit into 64 bits.

    Args:
        time_us: Times, in order inside each slice, [events].
        low: First event of each slice, [slices].
        high: One past its last event, which is an event, too, [slices].
        until_us: The moment, [slices].
    """
    while (low < high).any():
        middle = (low + high) // 2
        before = (low < high) & (time_us[middle] < until_us)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low


def select(baskets: Baskets, index: npt.NDArray[np.bool_] | Int64 | slice) -> Baskets:
    """Return some of the baskets."""
    return Baskets(*(getattr(baskets, f.name)[index] for f in dataclasses.fields(Baskets)))


def histories(events: Interactions, baskets: Baskets, *, length: int) -> Int32:
    """Return the most recent items before each basket.

    Returns:
        Item rows, int32 [baskets, length], most recent last, −1 where there is no event.
    """
    return last_items(events, baskets.history_start, baskets.history_end, length=length)


def last_items(events: Interactions, start: Int64, end: Int64, *, length: int) -> Int32:
    """Return the last items of slices of the events.

    Args:
        events: Ordered interactions.
        start: First event of each slice, [slices].
        end: One past its last event, [slices].
        length: How many items.

    Returns:
        Item rows, int32 [slices, length], most recent last, −1 where the slice has no more.
    """
    place = end[:, None] + np.arange(-length, 0)
    valid = place >= start[:, None]
    return np.where(valid, events.item[np.maximum(place, 0)], np.int32(-1))


def whole_users(events: Interactions) -> Baskets:
    """Return one basket per user with all the user's events, which are its history, too."""
    start, end = user_slices(events)
    return Baskets(events.user[start], start, end, start, end)


def user_slices(events: Interactions) -> tuple[Int64, Int64]:
    """Return the first event of each user and one past the last, [users] both."""
    start = np.flatnonzero(np.diff(events.owner, prepend=-1) != 0)
    return start, np.append(start, len(events))[1:]


def labels(events: Interactions, baskets: Baskets) -> tuple[Int32, Int32]:
    """Return the items of the baskets, one after the other.

    Returns:
        Number of the basket and item row of each label, int32 [labels] both.
    """
    basket, place = places(baskets)
    return basket, events.item[place]


def places(baskets: Baskets) -> tuple[Int32, Int64]:
    """Return the number of the basket and the event of each label, [labels] both."""
    lengths = baskets.end - baskets.start
    basket = np.repeat(np.arange(len(baskets), dtype=np.int32), lengths)
    before = np.cumsum(lengths) - lengths
    return basket, np.arange(lengths.sum()) - np.repeat(before - baskets.start, lengths)
