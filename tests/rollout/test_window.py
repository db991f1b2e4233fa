"""Windows: differences of counters, and what is read from a histogram."""

import math

import pytest

from components.rollout.window import Feedback, Window, window_between
from serving.platform import FeedbackCounts, RevisionMetrics


def test_window_is_what_was_added_and_only_5xx_are_errors():
    start = RevisionMetrics({200: 10, 500: 1}, {10.0: 11, math.inf: 11})
    end = RevisionMetrics({200: 15, 400: 2, 500: 2, 503: 3}, {10.0: 15, math.inf: 22})
    # 5 + 2 + 1 + 3 new requests, of which 1 + 3 are the server's fault.
    assert window_between(start, end) == Window(11, 4, {10.0: 4, math.inf: 11})


def test_counter_that_restarted_counts_from_zero():
    start = RevisionMetrics({200: 100}, {10.0: 100, math.inf: 100})
    end = RevisionMetrics({200: 7}, {10.0: 6, math.inf: 7})
    assert window_between(start, end) == Window(7, 0, {10.0: 6, math.inf: 7})


def test_feedback_is_what_was_reported_since_and_none_is_not_nothing():
    def reported(*counts: int) -> RevisionMetrics:
        return RevisionMetrics({200: 1}, {math.inf: 1}, FeedbackCounts(*counts))

    silent = RevisionMetrics({200: 1}, {math.inf: 1})
    assert window_between(reported(100, 20), reported(130, 25)).feedback == Feedback(30, 5)
    assert window_between(silent, reported(4, 1)).feedback == Feedback(4, 1)
    assert window_between(silent, silent).feedback is None
    # Fewer than before: counted anew from zero.
    assert window_between(reported(100, 20), reported(130, 3)).feedback == Feedback(130, 3)


def test_revision_without_counters_has_an_empty_window():
    assert window_between(None, None) == Window()


def test_quantile_is_linear_inside_its_bucket():
    # 10 below 10 ms, 80 between 10 and 20, 10 above: rank 50 is 40/80 into the second bucket.
    found = Window(100, 0, {10.0: 10, 20.0: 90, math.inf: 100})
    assert found.quantile_ms(0.5) == pytest.approx(15.0)
    assert found.quantile_ms(0.95) == 20.0  # the open bucket says no more than its lower bound
    assert Window().quantile_ms(0.95) is None
    assert Window(5, 0, {10.0: 0, math.inf: 0}).quantile_ms(0.95) is None


def test_counts_that_fall_from_one_bound_to_the_next_are_held():
    # As in a sum over servers that were read at different moments.
    found = Window(100, 0, {20.0: 60, 10.0: 61, math.inf: 100})
    assert list(found.cumulative) == [61, 61, 100]
    assert list(found.bounds_ms) == [10.0, 20.0, math.inf]


def test_two_stretches_together():
    first = Window(11, 4, {10.0: 4, math.inf: 11})
    second = Window(2, 0, {10.0: 1, math.inf: 2}, Feedback(10, 3))
    assert first.plus(second) == Window(13, 4, {10.0: 5, math.inf: 13}, Feedback(10, 3))
    assert second.plus(second).feedback == Feedback(20, 6)
    assert Window().plus(first) == first
