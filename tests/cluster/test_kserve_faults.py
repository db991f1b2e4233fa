"""An API server that is busy, fails, or loses answers: what is repeated, and what is told."""

import itertools
from dataclasses import replace

import pytest

from serving.platform import PlatformError
from serving.platform.changes import ServiceChanges, Waits
from serving.platform.cluster import Outdated, OwnedByAnother, path
from serving.platform.identity import ClusterIdentity, local_user
from serving.platform.kserve import KServePlatform
from serving.platform.lease import RolloutLeases
from serving.platform.release_record import KnownRevision, RecordStore, ReleaseRecord
from tests.cluster.faulty_proxy import FaultyProxy
from tests.cluster.kserve_stand_in import ISVC, cluster_of
from tests.cluster.test_kserve_platform import WAITS, service, stand_in

EVERYTHING = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def note(bare_namespace):
    """A ConfigMap to apply, and where."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}}
    return path("v1", "configmaps", bare_namespace, "note"), body | {"data": {"key": "value"}}


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, "refuse", "lose", "hang"])
def test_apply_is_repeated_until_it_is_answered(api_server, note, fault):
    where, body = note
    with FaultyProxy(api_server, "PATCH") as proxy:
        cluster = proxy.connect()
        proxy.faults.extend([fault, fault])
        assert cluster.apply(where, body)["data"] == {"key": "value"}
        assert [method for method, _ in proxy.seen] == ["PATCH"] * 3
        assert cluster.get(where)["data"] == {"key": "value"}


def test_server_that_stays_away_is_told_in_one_line_after_six_attempts(api_server, note):
    where, body = note
    with FaultyProxy(api_server, "PATCH") as proxy:
        proxy.faults.extend([503] * 6)
        with pytest.raises(PlatformError, match="PATCH .*/note: 503: made up") as failure:
            proxy.connect().apply(where, body)
        assert len(proxy.seen) == 6 and "\n" not in str(failure.value)


def test_what_is_not_idempotent_is_not_repeated(api_server, note):
    where, body = note
    with FaultyProxy(api_server, "POST") as proxy:
        proxy.faults.append(500)
        with pytest.raises(PlatformError, match="500"):
            proxy.connect().create(where.rsplit("/", 1)[0], body)
        assert len(proxy.seen) == 1


@pytest.mark.parametrize("fault", [400, 401, 403, 422])
def test_refusal_is_not_repeated(api_server, note, fault):
    where, body = note
    with FaultyProxy(api_server, "PATCH") as proxy:
        proxy.faults.append(fault)
        with pytest.raises(PlatformError, match=str(fault)):
            proxy.connect().apply(where, body)
        assert len(proxy.seen) == 1


def test_conflicts_are_told_apart(api_server, note):
    where, body = note
    mine = cluster_of(api_server.kubeconfig)
    version = mine.apply(where, body)["metadata"]["resourceVersion"]
    theirs = cluster_of(api_server.kubeconfig, manager="kubectl")
    with pytest.raises(OwnedByAnother, match='conflict with "shopflow".*data.key'):
        theirs.apply(where, body | {"data": {"key": "other"}})
    theirs.apply(where, body | {"data": {"more": "other"}})
    with pytest.raises(Outdated):
        mine.apply(where, body | {"metadata": {"name": "note", "resourceVersion": version}})


def test_unknown_field_is_refused_and_not_dropped(api_server, bare_namespace):
    where = path(ISVC, "inferenceservices", bare_namespace, "shop")
    with FaultyProxy(api_server) as proxy:
        with pytest.raises(PlatformError, match="spec.predictor.replica: field not declared"):
            proxy.connect().apply(where, service(1, replica=1))
        assert len(proxy.seen) == 1


def test_record_whose_answer_got_lost_was_written(api_server, bare_namespace):
    record = ReleaseRecord(stable=KnownRevision({}, "shop-1"))
    with FaultyProxy(api_server, "POST", "PUT") as proxy:
        store = RecordStore(proxy.connect(), bare_namespace)
        proxy.faults.append("lose")
        written = store.write("shop", record)
        proxy.faults.append("lose")
        again = store.write("shop", replace(written, stable=KnownRevision({}, "shop-2")))
    assert store_of(api_server, bare_namespace).read("shop") == again
    with pytest.raises(PlatformError, match="changed by another rollout"):
        store_of(api_server, bare_namespace).write("shop", written)


def test_who_it_was_is_asked_again_where_the_api_server_did_not_say(api_server):
    with FaultyProxy(api_server, "POST") as proxy:
        who = ClusterIdentity(proxy.connect())
        proxy.faults.append(403)
        assert who().startswith(f"{local_user()} (the API server did not say who: POST ")
        proxy.faults.append(503)  # a review changes nothing, so it is repeated
        assert who() == who() == "shopflow-admin"
        assert len(proxy.seen) == 3


def store_of(api_server, namespace) -> RecordStore:
    return RecordStore(cluster_of(api_server.kubeconfig), namespace)


def test_lease_whose_answer_got_lost_was_taken(api_server, bare_namespace):
    with FaultyProxy(api_server, "POST") as proxy:
        proxy.faults.append("lose")
        RolloutLeases(proxy.connect(), bare_namespace).take("shop", "a")
    other = RolloutLeases(cluster_of(api_server.kubeconfig), bare_namespace)
    with pytest.raises(PlatformError, match="found a rollout of a seen"):
        other.take("shop", "b")
    other.take("shop", "a")
    other.give_back("shop")
    other.take("shop", "b")


def test_change_is_made_to_the_version_that_was_seen(api_server, bare_namespace):
    """Status writes of a controller are no reason to give up, changes of the spec are."""
    admin = cluster_of(api_server.kubeconfig, manager="kubectl-edit")
    changes = ServiceChanges(cluster_of(api_server.kubeconfig), bare_namespace, Waits())
    changes.apply("shop", service(1), None)
    seen = changes.live("shop")
    where = path(ISVC, "inferenceservices", bare_namespace, "shop")
    status = {"apiVersion": ISVC, "kind": "InferenceService", "metadata": {"name": "shop"}}
    admin.apply(f"{where}/status", status | {"status": {"url": "http://shop.example.com"}})
    changes.apply("shop", service(2), seen)
    seen = changes.live("shop")
    assert seen["spec"]["predictor"]["model"]["storageUri"] == "gs://models/shop/2"
    admin.apply(where, status | {"spec": {"predictor": {"timeout": 9}}})
    with pytest.raises(PlatformError, match="spec changed by 'kubectl-edit' meanwhile"):
        changes.apply("shop", service(3), seen)
    assert changes.live("shop")["spec"]["predictor"]["model"]["storageUri"] == "gs://models/shop/2"
    admin.apply(
        where, status | {"spec": {"predictor": {"model": {"storageUri": "gs://x/9"}}}}, force=True
    )
    with pytest.raises(PlatformError, match='conflict with "kubectl-edit": .spec.predictor.model'):
        changes.apply("shop", service(3), changes.live("shop"))


def test_change_of_labels_alone_is_made_though_the_status_was_written(api_server, bare_namespace):
    """A first release is opened by taking a label away: its spec is the same before and after."""
    admin = cluster_of(api_server.kubeconfig, manager="kserve")
    changes = ServiceChanges(cluster_of(api_server.kubeconfig), bare_namespace, Waits())
    shut = service(1)
    shut["metadata"] = {"name": "shop", "labels": {"visibility": "cluster-local"}}
    changes.apply("shop", shut, None)
    seen = changes.live("shop")
    status = {"apiVersion": ISVC, "kind": "InferenceService", "metadata": {"name": "shop"}}
    where = path(ISVC, "inferenceservices", bare_namespace, "shop/status")
    admin.apply(where, status | {"status": {"url": "http://shop.example.com"}})
    changes.apply("shop", service(1), seen)
    assert "visibility" not in (changes.live("shop")["metadata"].get("labels") or {})


def test_change_whose_answer_got_lost_was_made(api_server, bare_namespace):
    with FaultyProxy(api_server, "PATCH") as proxy:
        changes = ServiceChanges(proxy.connect(), bare_namespace, Waits())
        changes.apply("shop", service(1), None)
        seen = changes.live("shop")
        proxy.faults.append("lose")
        changes.apply("shop", service(2), seen)  # the repeated one finds its own, newer version
        assert changes.live("shop")["spec"] == service(2)["spec"]


@pytest.mark.parametrize("kind", ["knative", "ingress"])
def test_release_and_roll_back_go_through_a_bad_network(api_server, bare_namespace, kind):
    with (
        stand_in(api_server, bare_namespace, kind) as controllers,
        FaultyProxy(api_server, *EVERYTHING) as proxy,
    ):
        platform = KServePlatform(
            proxy.connect(),
            namespace=bare_namespace,
            waits=WAITS,
            controller=controllers.controller,
        )
        faults = itertools.cycle([None, 429, None, "refuse", None, 503, None, "lose", None, 500])
        # Creating is not repeated, and what is created here is created by the first release.
        proxy.methods = ("GET", "PUT", "PATCH", "DELETE")
        proxy.faults.extend(itertools.islice(faults, 2000))
        platform.deploy(service(1))
        platform.set_traffic("shop", 100)
        first = platform.promote("shop").stable
        canary = platform.deploy(service(2)).canary
        platform.set_traffic("shop", 100)
        status = platform.roll_back("shop", reason="slow")
        assert (status.canary, status.stable.storage_uri) == (None, first.storage_uri)
        assert status.last_rollback.revision == canary.name
        assert len(proxy.faults) < 1950  # dozens of requests met a fault
