"""What the replay says, by hand."""

import pytest

from components.errors import InputError
from components.shadow.comparison import Comparison, Measured, compare, find_objection, measure
from components.shadow.overlap import average_overlap, overlap_at_k
from components.shadow.replay import Answer
from components.shadow.settings import ShadowSettings


def answered(latency_ms: float = 1.0, items: tuple[str, ...] = ("a", "b")) -> Answer:
    return Answer(200, latency_ms, items)


FAILED = Answer(500, 1.0)


def test_overlap_is_the_share_of_the_longer_list_and_the_average_weighs_the_top():
    assert overlap_at_k("abcd", "abxy") == 0.5
    assert overlap_at_k("ab", "abcd") == 0.5
    assert overlap_at_k("", "") == 1.0
    # Depths 1 to 4: 1, 1, 2/3, 2/4; and the other way round: 0, 0, 1/3, 2/4.
    assert average_overlap("abcd", "abxy") == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert average_overlap("cdab", "xyab") == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_latencies_are_those_of_answered_requests():
    found = measure([answered(float(n)) for n in range(1, 101)] + [FAILED])
    # Nearest rank: the 50th, 95th and 99th of 100.
    assert found == Measured(101, 1, 50.0, 95.0, 99.0)
    assert measure([FAILED]) == Measured(1, 1, None, None, None)
    assert measure([]).error_rate == 1.0


def test_an_empty_list_is_a_failure_and_is_compared_with_nothing():
    found = compare([(Answer(200, 1.0), answered()), (answered(), answered(2.0, ("a", "c")))])
    assert found.candidate.failed == 1
    assert found.overlap == (0.5,)
    assert found.average_overlap == pytest.approx((1 + 1 / 2) / 2)


def test_without_a_stable_only_the_candidates_answers_count():
    found = compare([(answered(),), (answered(),)])
    assert (found.stable, found.mean_overlap) == (None, None)
    assert find_objection(found, ShadowSettings(min_overlap=0.9)) is None


def of(failed: int = 0, p50_ms: float | None = 10.0) -> Measured:
    return Measured(100, failed, p50_ms, p50_ms, p50_ms)


@pytest.mark.parametrize(
    ("found", "objection"),
    [
        (Comparison(of(failed=1), of()), None),
        (Comparison(of(failed=2), of()), "2 of 100 shadow requests failed, expected at most 1.0%"),
        (Comparison(of(p50_ms=20.0), of()), None),  # 2 × 10 ms
        (Comparison(of(p50_ms=20.1), of()), "median of 20.1 ms in shadow, expected at most 20.0"),
        (Comparison(of(p50_ms=10.9), of(p50_ms=1.0)), None),  # 1 + the floor of 10 ms
        (Comparison(of(p50_ms=11.1), of(p50_ms=1.0)), "expected at most 11.0 ms"),
        (Comparison(of(100, None), of()), "100 of 100"),
        (
            Comparison(of(), of(), (0.4, 0.5), 0.4),
            "mean overlap of 0.450 with the stable, expected",
        ),
        (Comparison(of(), of(), (0.5, 0.5), 0.4), None),
        (Comparison(of(), of(100, None)), "mean overlap of none"),
    ],
)
def test_what_speaks_against_a_candidate(found: Comparison, objection: str | None):
    asked = ShadowSettings(min_overlap=0.5 if found.overlap or found.stable == of(100, None) else 0)
    said = find_objection(found, asked)
    assert said is None if objection is None else objection in str(said)


@pytest.mark.parametrize(
    "setting",
    [
        {"requests": -1},
        {"clients": 0},
        {"max_error_rate": 1.1},
        {"min_overlap": -0.1},
        {"max_median_ratio": 0.5},
        {"latency_floor_ms": float("inf")},
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        ShadowSettings(**setting)
