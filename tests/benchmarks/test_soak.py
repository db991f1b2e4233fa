"""The soak sees what it is there to see: lost requests and growing memory."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak.load import ConstantLoad, Failure, Outcome, Requests
from benchmarks.soak.memory import Curve
from benchmarks.soak.verdict import BadCanary, Phase, Soak, judge
from serving.platform.local import LocalPlatform
from serving.platform.traffic import bucket
from tests.serving.stub_service import stub_service

FAILING = BadCanary("shop-predictor-00003", 10)
DYING = "shop-predictor-00004"
INSIDE, OUTSIDE = (
    next(f"u{n}" for n in range(100) if (bucket(f"u{n}", salt=FAILING.revision) < 0.1) == inside)
    for inside in (True, False)
)
ERROR = Outcome("500", FAILING.revision)
STABLE_CODES = {"shop-predictor-00002": {200: 98}}


def soak(
    *,
    failures: Sequence[Failure] = (Failure(1.0, INSIDE, ERROR),),
    routed: dict[str, dict[int, int]] | None = None,
    rss_mb: Sequence[float] = (400.0,) * 600,
) -> Soak:
    """Return ten minutes with 100 requests: all good unless told otherwise."""
    steady = Curve(list(map(float, range(600))), [800.0] * 600, serves_since_s=0.0)
    curve = Curve(list(map(float, range(len(rss_mb)))), list(rss_mb), serves_since_s=0.0)
    return Soak(
        phases=[Phase("constant", 0.0, 600.0, constant=True)],
        requests=Requests(np.zeros(100), np.ones(100), np.zeros(100, int), [Outcome("200", "a")]),
        failures=failures,
        good=["shop-predictor-00002"],
        failing=FAILING,
        dying=BadCanary(DYING, 10),
        routed=routed or STABLE_CODES | {FAILING.revision: {500: 1}, DYING: {503: 1}},
        curves={"router": curve, "shop-predictor-00002": steady},
        warm_up_s=60.0,
        load_cpu_share=0.1,
    )


def refused(found: Soak) -> list[str]:
    return [one.claim for one in judge(found) if not one.good]


def test_failures_of_the_bad_canarys_share_are_the_only_ones_allowed():
    assert refused(soak()) == []
    allowed = Failure(1.0, INSIDE, ERROR)
    for other in (
        Failure(1.0, OUTSIDE, ERROR),  # a user who should never have met it
        Failure(1.0, INSIDE, Outcome("500", "shop-predictor-00002")),
        Failure(1.0, INSIDE, Outcome("503", FAILING.revision)),
        Failure(1.0, INSIDE, Outcome("timeout", "")),
    ):
        assert refused(soak(failures=[allowed, other])) == [
            "no request failed outside the bad canary's share"
        ]


@pytest.mark.parametrize(
    ("routed", "claim"),
    [
        ({FAILING.revision: {500: 1}, DYING: {503: 2}}, "the router counted every request once"),
        ({FAILING.revision: {500: 2}}, "the killed canary left requests to the stable"),
        (
            {FAILING.revision: {503: 1}, DYING: {503: 1}},
            "no request was lost on its way and asked again",
        ),
    ],
)
def test_routers_counts_must_agree(routed: dict[str, dict[int, int]], claim: str):
    assert refused(soak(routed=STABLE_CODES | routed)) == [claim]


def test_memory_that_grows_under_constant_load_is_refused():
    # 0.03 MB a second: +16.2 MB from warm-up to end; the means of the thirds (180 s each) are
    # 360 s apart, so they differ by 10.8 MB, which is less than 5 % of 400 MB but over 10 MB.
    leaking = soak(rss_mb=[400 + 0.03 * second for second in range(600)])
    assert refused(leaking) == ["router grew by less than 5 % and 10 MB"]
    assert leaking.growths()["router"].grown_mb == pytest.approx(10.8)
    assert leaking.growths()["router"].slope_mb == pytest.approx(18.0)
    # 2.5 MB are over 5 % of 40 MB; growth that ends with the warm-up is none.
    assert refused(soak(rss_mb=[40.0] * 330 + [42.5] * 270)) != []
    assert refused(soak(rss_mb=[40.0] * 60 + [60.0] * 540)) == []
    assert refused(soak(rss_mb=[40.0] * 60)) != []  # nothing after the warm-up was seen


def test_load_counts_every_kind_of_failure_and_repeats_nothing(tmp_path: Path):
    platform = LocalPlatform(tmp_path, namespace="test")
    try:
        platform.deploy(stub_service())
        platform.set_traffic("shop", 100)
        status = platform.promote("shop")
        with ConstantLoad(status.url, "shop", clients=2) as load:
            while len(load.requests().began_s) < 20:
                time.sleep(0.02)
            counted = platform.metrics("shop")[status.stable.name].requests
            sent = len(load.requests().began_s)
            platform.stop("shop")
            while "connection" not in " ".join(one.outcome.code for one in load.failures):
                time.sleep(0.02)
    finally:
        platform.delete("shop")
    assert counted.keys() == {200}
    assert counted[200] <= sent + 2  # those under way
    # The stub answers one item where ten were asked for.
    assert Outcome("wrong answer", status.stable.name) in load.requests().by_outcome()
    assert len(load.failures) == len(load.requests().began_s)
