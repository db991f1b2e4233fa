"""Back to an earlier release on a real control plane, and abort beside a running rollout."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from components.object_store import open_store, upload_tree
from serving.platform import PlatformError, Provenance
from serving.platform.cluster import path
from serving.platform.kserve import KServePlatform
from serving.platform.lease import RolloutLeases
from serving.platform.restoration import restore
from tests.cluster.faulty_proxy import FaultyProxy
from tests.cluster.kserve_stand_in import cluster_of
from tests.cluster.test_kserve_platform import (
    WAITS,
    Deploying,
    connected,
    controllers,  # noqa: F401  # a fixture
    live,
    service,
    stand_in,
)
from tests.serving.bare_package import model_sha256, publish_bare
from tests.test_object_store import emulator  # noqa: F401  # a fixture


@pytest.fixture(scope="module")
def packages(emulator, tmp_path_factory) -> list[str]:  # noqa: F811  # the fixture
    """Three published versions on gs://."""
    store = tmp_path_factory.mktemp("store")
    for version in (1, 2, 3):
        folder = publish_bare(store, version=version)
        upload_tree(open_store("gs://shop/back"), folder, prefix=str(version))
    return [f"gs://shop/back/{version}" for version in (1, 2, 3)]


def put_on_trial(platform: KServePlatform, uri: str) -> str:
    """Deploy a package, each version with a timeout of its own; its revision's name."""
    version = int(uri[-1])
    status = platform.deploy(
        service(uri, timeout=10 + version),
        provenance=Provenance(version, f"run-{version}", model_sha256(version)),
    )
    return status.canary.name


def release(platform: KServePlatform, uri: str) -> str:
    name = put_on_trial(platform, uri)
    platform.set_traffic("shop", 100)
    platform.promote("shop", reason="every step passed")
    return name


@pytest.mark.parametrize("controllers", ["knative", "standard", "stand-in-ingress"], indirect=True)
def test_back_to_the_first_of_three_releases_and_the_record_says_so(controllers, packages):  # noqa: F811
    platform = connected(controllers)
    names = [release(platform, uri) for uri in packages]
    found = restore(connected(controllers), "shop", to="1", reason="wrong prices")
    assert (found.changed, found.status.canary) == (True, None)
    assert (found.status.stable.storage_uri, found.status.stable.ready) == (packages[0], True)
    assert found.status.stable.traffic_percent == 100
    assert live(platform)["spec"]["predictor"]["timeout"] == 11
    # Nobody was ever sent anywhere but to the stable revision, or to the one promoted next.
    back = found.status.stable.name
    assert controllers.splits == [{name: 100} for name in (*names, back)]

    log = connected(controllers).releases("shop")
    told = [
        (one.provenance.version, one.provenance.run, one.verdict, one.decided.why)
        for one in log.releases
    ]
    why = "back to version 1: wrong prices"
    assert told == [
        (1, "run-1", "promoted", "every step passed"),
        (2, "run-2", "promoted", "every step passed"),
        (3, "run-3", "rolled back", why),
        (1, "run-1", "promoted", why),
    ]
    assert (log.stable, log.stable_release.revision) == (4, back)
    by = {event.by for one in log.releases for event in one.events}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    me = controllers.cluster.review(f"/apis/{review['apiVersion']}/selfsubjectreviews", review)
    assert by == {me["status"]["userInfo"]["username"]}
    assert not restore(platform, "shop", to=packages[0], reason="again").changed
    assert platform.releases("shop") == log


@pytest.fixture
def knative(api_server, bare_namespace):
    """A stand-in for the controllers in Knative mode."""
    with stand_in(api_server, bare_namespace, "knative") as running:
        yield running


class Failing(Deploying):
    """A platform before whose set_traffic the network breaks."""

    breaks: Callable[[], None]

    def set_traffic(self, service: str, percent: int) -> Any:
        self.breaks()
        return super().set_traffic(service, percent)


@pytest.mark.parametrize(
    ("methods", "faults", "told"),
    [
        (("PATCH",), [503] * 6, "503.*; shop-predictor-.* serves on"),
        (("GET", "PUT", "PATCH", "POST"), ["refuse"] * 1000, "no answer.*; and then: .*repeat"),
    ],
)
def test_api_that_fails_on_the_way_leaves_the_stable_one_serving(
    api_server, knative, packages, methods, faults, told
):
    for uri in packages[:2]:
        release(connected(knative), uri)
    with FaultyProxy(api_server, *methods) as proxy:
        platform = Failing(
            proxy.connect(), namespace=knative.namespace, waits=WAITS, controller=knative.controller
        )
        platform.breaks = lambda: proxy.faults.extend(faults)
        with pytest.raises(PlatformError, match=f"not brought back to version 1: x: .*{told}"):
            restore(platform, "shop", to="1", reason="x")
    after = connected(knative)
    status = after.status("shop")
    assert (status.stable.storage_uri, status.stable.traffic_percent) == (packages[1], 100)
    restore(after, "shop", to="1", reason="x")
    status = after.status("shop")
    assert (status.canary, status.stable.storage_uri) == (None, packages[0])
    assert not any("shop-predictor-00003" in split for split in knative.splits[:2])


def test_way_back_whose_process_dies_after_promoting_ends_well_when_repeated(knative, packages):
    """The cluster has obeyed, the record does not know it yet."""
    for uri in packages[:2]:
        release(connected(knative), uri)
    dying = connected(knative)
    written = dying._records.write

    def write(name, record):
        if record.candidate is None:
            raise KeyboardInterrupt  # what is called next is the end of this process
        return written(name, record)

    dying._records.write = write
    with pytest.raises(KeyboardInterrupt):
        restore(dying, "shop", to="1", reason="x")
    restore(connected(knative), "shop", to="1", reason="x")
    status, log = connected(knative).status("shop"), connected(knative).releases("shop")
    assert (status.canary, status.stable.storage_uri) == (None, packages[0])
    assert [one.verdict for one in log.releases] == ["promoted", "rolled back", "promoted"]


def test_way_back_is_refused_while_a_rollout_runs(knative, packages):
    for uri in packages[:2]:
        release(connected(knative), uri)
    leases = RolloutLeases(cluster_of(knative.kubeconfig), knative.namespace)
    leases.take("shop", "another")  # it has only begun: nothing is on trial yet
    with pytest.raises(PlatformError, match="found a rollout of another seen .*; .* serves on"):
        restore(connected(knative), "shop", to="1", reason="x")
    leases.give_back("shop")
    name = put_on_trial(connected(knative), packages[2])
    before = connected(knative).releases("shop")
    with pytest.raises(PlatformError, match=f"found {name} on trial, expected no rollout: wait"):
        restore(connected(knative), "shop", to="1", reason="x")
    assert connected(knative).releases("shop") == before
    assert connected(knative).status("shop").canary.name == name


def test_rollout_cannot_undo_an_abort_that_is_under_way(knative, packages):
    """Knative takes its time to bring the old predictor back; the rollout's process goes on."""
    release(connected(knative), packages[0])
    put_on_trial(connected(knative), packages[1])
    running, operator = connected(knative), connected(knative)
    running.set_traffic("shop", 50)
    knative.paused.set()
    abort = threading.Thread(target=operator.roll_back, args=("shop",), kwargs={"reason": "x"})
    abort.start()
    where = path("serving.kserve.io/v1beta1", "inferenceservices", knative.namespace, "shop")
    while knative.cluster.get(where)["spec"]["predictor"].get("canaryTrafficPercent") != 0:
        abort.join(0.05)
        assert abort.is_alive()
    for verb in (lambda: running.set_traffic("shop", 100), lambda: running.promote("shop")):
        with pytest.raises(PlatformError, match="found its canary being taken away"):
            verb()
    knative.paused.clear()
    abort.join()
    status = connected(knative).status("shop")
    assert (status.canary, status.stable.storage_uri) == (None, packages[0])
    assert status.stable.traffic_percent == 100


def test_abort_stands_though_the_rollout_writes_the_record_first(knative, packages):
    release(connected(knative), packages[0])
    put_on_trial(connected(knative), packages[1])
    running, operator = connected(knative), connected(knative)
    written, writes = operator._records.write, []

    def write(name, record):
        writes.append(record)
        if len(writes) == 1:
            running.set_traffic("shop", 50)
        return written(name, record)

    operator._records.write = write
    assert operator.roll_back("shop", reason="x").canary is None
    (*_, last) = connected(knative).releases("shop").releases
    assert [event.why for event in last.events[-2:]] == ["50 %", "x"]
    with pytest.raises(PlatformError, match="found no canary"):
        running.set_traffic("shop", 100)
