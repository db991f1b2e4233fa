"""Growth of counters over looks that overlap, restarts and histograms."""

from hypothesis import given
from hypothesis import strategies as st

from serving.platform.counter_growth import CounterGrowth, Series


def counter(*samples: tuple[float, int], **labels: str) -> Series:
    return Series(labels, samples)


def total(growth: CounterGrowth) -> int:
    return sum(count for _, count in growth.items())


def test_what_was_counted_before_the_first_look_is_no_growth():
    growth = CounterGrowth()
    growth.begin([counter((1, 70), (2, 80), pod="a")])
    assert list(growth.items()) == [({"pod": "a"}, 0)]
    growth.follow([counter((1, 70), (2, 80), (3, 85), pod="a")])
    assert list(growth.items()) == [({"pod": "a"}, 5)]


def test_sample_seen_again_is_not_counted_again():
    growth = CounterGrowth()
    growth.follow([counter((1, 3), (2, 4), pod="a")])
    growth.follow([counter((1, 3), (2, 4), pod="a")])
    growth.follow([counter((2, 4), (3, 9), pod="a")])
    assert total(growth) == 9


def test_every_restart_between_two_looks_is_counted():
    growth = CounterGrowth()
    growth.begin([counter((1, 100), pod="a")])
    # Up to 110, restarted up to 50, restarted up to 120: 10 + 50 + 120.
    growth.follow([counter((2, 110), (3, 50), (4, 20), (5, 120), pod="a")])
    assert total(growth) == 10 + 50 + 120


def test_histogram_restarts_as_a_whole():
    growth = CounterGrowth()
    growth.begin([counter((1, 3), le="10"), counter((1, 90), le="+Inf")])
    # 5 at most 10 is above the 3 of before, but 20 in all is not above 90: a restart.
    growth.follow([counter((2, 5), le="10"), counter((2, 20), le="+Inf")])
    assert dict((labels["le"], count) for labels, count in growth.items()) == {
        "10": 5,
        "+Inf": 20,
    }


def test_series_that_goes_keeps_its_growth_and_others_are_not_touched():
    growth = CounterGrowth()
    growth.begin([counter((1, 10), pod="a"), counter((1, 500), pod="b")])
    growth.follow([counter((2, 16), pod="a"), counter((2, 501), pod="b")])
    growth.follow([counter((3, 502), pod="b")])
    assert total(growth) == 6 + 2


@given(
    lives=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=5),
    looks=st.lists(st.integers(1, 30), max_size=6),
)
def test_growth_is_what_happened_as_far_as_it_was_sampled_and_never_falls(lives, looks):
    """A process' life is its requests between scrapes; a life starts with a visible fall."""
    samples, happened = [], 0
    for life in lives:
        count = 0
        if samples:
            samples.append((float(len(samples)), 0))
        for requests in life:
            count += requests
            happened += requests
            samples.append((float(len(samples)), count))
    growth, before = CounterGrowth(), 0
    for end in [*sorted(looks), len(samples)]:
        growth.follow([Series({"pod": "a"}, samples[max(0, end - 40) : end])])
        assert total(growth) >= before
        before = total(growth)
    assert before == happened
