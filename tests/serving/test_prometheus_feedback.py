"""The shop's feedback as a real Prometheus has it: by our counters, and by anybody's."""

import logging
import time
from collections.abc import Callable, Iterator

import pytest

from serving.platform import FeedbackCounts, PlatformError
from serving.platform.feedback_profiles import SHOPFLOW, FeedbackProfile, find_feedback
from serving.platform.metric_profiles import SHOPFLOW as REQUESTS
from serving.platform.prometheus import PrometheusSource
from serving.platform.prometheus_api import PrometheusApi, PrometheusSettings
from serving.platform.prometheus_feedback import PrometheusFeedback
from tests.serving.exporter import Exporter, shopflow
from tests.serving.test_prometheus import World, wait_until

OWN_SHOP = FeedbackProfile(
    "own",
    'storefront_views_total{ns="{namespace}",svc=~"{service}|all",rev="{revision}"}',
    'storefront_baskets_total{rev="{revision}"}',
)


def report(pod: Exporter, revision: str, *, impressions: int, clicks: int) -> None:
    labels = {"model_name": "shop", "recommended_by": revision}
    pod.say(
        [
            ("shopflow_feedback_impressions_total", labels, impressions),
            ("shopflow_feedback_clicks_total", labels, clicks),
        ]
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(tmp_path_factory.mktemp("prometheus"), pods=6)
    yield found
    found.stop()


class Reader:
    """A source that looks at one revision."""

    def __init__(
        self,
        world: World,
        revision: str,
        profile: FeedbackProfile = SHOPFLOW,
    ) -> None:
        settings = PrometheusSettings(world.prometheus.url)
        self._source = PrometheusSource(settings, REQUESTS, feedback=profile)
        self._revision = revision

    def __call__(self) -> FeedbackCounts | None:
        found = self._source.read("shop", namespace="test", revisions=[self._revision])
        return found[self._revision].feedback

    def wait_for(self, impressions: int, clicks: int) -> None:
        wait_until(lambda: self() == FeedbackCounts(impressions, clicks))


def scraped(world: World, query: str, value: float) -> Callable[[], bool]:
    return lambda: any(float(one["value"][1]) == value for one in world.prometheus.query(query))


def test_reports_that_reached_any_server_count_for_the_revision_they_are_about(world: World):
    one, other = world.pod(), world.pod()
    for pod, revision in ((one, "about-00001"), (other, "about-00002")):
        shopflow(pod, revision, code=200, ms=5, times=10)
        world.wait_scraped(revision)
    stable, canary = Reader(world, "about-00001"), Reader(world, "about-00002")
    assert stable() is None and canary() is None  # nobody reported anything: that is not zero
    report(one, "about-00001", impressions=10, clicks=3)
    report(one, "about-00002", impressions=4, clicks=0)
    report(other, "about-00001", impressions=5, clicks=1)
    stable.wait_for(15, 4)
    canary.wait_for(4, 0)
    # A pod that restarts takes nothing away, and counts again from zero; both counters do, though
    # one of them is past its old count again.
    other.stop()
    shopflow(other, "about-00002", code=200, ms=5, times=1)
    report(other, "about-00001", impressions=2, clicks=2)
    other.start()
    # One counter is asked for after the other: a scrape in between would hide a restart.
    clicks = 'shopflow_feedback_clicks_total{recommended_by="about-00001"}'
    wait_until(scraped(world, clicks, 2))
    stable.wait_for(17, 6)


def test_counters_of_any_name_by_two_templates(world: World):
    pod, shop = world.pod(), world.pod()
    shopflow(pod, "named-00001", code=200, ms=5, times=10)
    world.wait_scraped("named-00001")
    read = Reader(world, "named-00001", OWN_SHOP)
    names = {"ns": "test", "svc": "all", "rev": "named-00001"}
    shop.put("storefront_views_total", names, 40)
    shop.put("storefront_views_total", names | {"ns": "other"}, 7000)
    shop.put("storefront_views_total", names | {"rev": "named-00002"}, 500)
    wait_until(scraped(world, 'storefront_views_total{rev="named-00001",ns="test"}', 40))
    assert read() is None  # views without any count of baskets are not "nothing is bought"
    shop.put("storefront_baskets_total", {"rev": "named-00001", "till": "1"}, 3)
    shop.put("storefront_baskets_total", {"rev": "named-00001", "till": "2"}, 2)
    read.wait_for(40, 5)


def test_feedback_that_is_broken_keeps_no_errors_from_being_seen(
    world: World,
    caplog: pytest.LogCaptureFixture,
):
    pod = world.pod()
    shopflow(pod, "broken-00001", code=200, ms=5, times=10)
    report(pod, "broken-00001", impressions=10, clicks=3)
    world.wait_scraped("broken-00001")
    read = Reader(world, "broken-00001")
    read.wait_for(10, 3)
    labels = {"model_name": "shop", "recommended_by": "broken-00001"}
    pod.put("shopflow_feedback_clicks_total", labels, float("nan"))
    wait_until(lambda: read() == FeedbackCounts(10, 3) and bool(caplog.messages))
    (line,) = set(caplog.messages)
    assert "feedback of broken-00001" in line and "found NaN, expected a count" in line
    # A wrong template is Prometheus' to refuse.
    caplog.clear()
    wrong = FeedbackProfile("wrong", 'a{rev="{revision}",}}', 'b{rev="{revision}"}')
    caplog.set_level(logging.WARNING)
    assert Reader(world, "broken-00001", wrong)() is None
    assert any("bad_data" in line for line in caplog.messages)


def test_what_was_reported_before_a_first_look_that_failed_is_nobody_s_evidence(world: World):
    pod = world.pod()
    labels = {"model_name": "shop", "recommended_by": "late-00001"}
    pod.put("shopflow_feedback_clicks_total", labels, float("inf"))
    pod.put("shopflow_feedback_impressions_total", labels, 50)
    shopflow(pod, "late-00001", code=200, ms=5, times=10)
    world.wait_scraped("late-00001")
    read = Reader(world, "late-00001")
    assert read() is None
    pod.put("shopflow_feedback_clicks_total", labels, 5)
    # The last sample is a count again; the first look that works is the start.
    deadline = time.monotonic() + 60
    while (found := read()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found == FeedbackCounts(0, 0)
    # So it is when the look at the requests before it had failed.
    api = PrometheusApi(PrometheusSettings(world.prometheus.url))
    feedback = PrometheusFeedback(api, SHOPFLOW, now_s=time.monotonic)
    assert feedback.read("test", "shop", "late-00001", late=True) == FeedbackCounts(0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "ours"}, r"feedback: found 'ours', expected one of \['shopflow'\]"),
        ({"impressions": 'a{r="{revision}"}'}, "feedback: found no clicks=…, expected both"),
        ({"clicks": 'a{r="{revision}"}'}, "feedback: found no impressions=…"),
        ({"impressions": "views", "clicks": 'a{r="{revision}"}'}, "impressions: found 'views'"),
        ({"impressions": 'a{r="{revision}"}', "clicks": 'a{r="x"}'}, "clicks: found .*revision"),
        (
            {"impressions": 'sum(a{r="{revision}"})', "clicks": 'a{r="{revision}"}'},
            "impressions: found 'sum",
        ),
    ],
)
def test_profiles_that_could_not_work_are_refused_in_one_line(arguments: dict, message: str):
    with pytest.raises(PlatformError, match=message) as refused:
        find_feedback(**{"name": "shopflow", **arguments})
    assert "\n" not in str(refused.value)


def test_names_stay_values_whatever_is_in_them():
    assert OWN_SHOP.selectors("s", namespace='n"}', revision="r\\") == {
        "clicks": 'storefront_baskets_total{rev="r\\\\"}',
        "impressions": 'storefront_views_total{ns="n\\"}",svc=~"s|all",rev="r\\\\"}',
    }
