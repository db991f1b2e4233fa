"""Standard mode: what is asked for, and how Deployments and routes are read."""

from dataclasses import replace

import pytest

from serving.platform import PlatformError
from serving.platform.cluster import Cluster
from serving.platform.inference_service import digest
from serving.platform.release_record import KnownRevision, ReleaseRecord
from serving.platform.route import backends_of_ingress, is_settled, read_split
from serving.platform.standard import (
    StandardMode,
    check_name,
    deployment_name,
    inherited,
    read_deployment,
)

MODE = StandardMode(Cluster(None), "ml")  # the rules that are tested here ask no cluster


def known(version: int, **predictor) -> KnownRevision:
    model = {"modelFormat": {"name": "shopflow"}, "storageUri": f"gs://models/shop/{version}"}
    template = MODE.stamp({"model": model, **predictor})
    return KnownRevision(template, deployment_name("shop", template))


def on_trial(**predictor) -> ReleaseRecord:
    return ReleaseRecord(stable=known(1, **predictor), candidate=known(2, **predictor))


def test_predictor_is_named_by_its_digest_and_its_pods_do_not_follow_the_service_s_label():
    template = {"model": {"storageUri": "gs://models/shop/1"}}
    stamped = MODE.stamp(template)
    assert stamped["name"] == f"v{digest(template)}"
    assert stamped["labels"] == {"networking.kserve.io/visibility": ""}
    assert deployment_name("shop", stamped) == f"shop-v{digest(template)}-predictor"
    assert deployment_name("shop", {}) == "shop-predictor"


def test_the_server_is_told_its_predictor_s_name_beside_its_own_variables():
    model = {"storageUri": "gs://models/shop/1", "env": [{"name": "A", "value": "1"}]}
    stamped = MODE.stamp({"model": model})
    told = {"name": "SHOPFLOW_PREDICTOR_NAME", "value": stamped["name"]}
    assert stamped["model"]["env"] == [{"name": "A", "value": "1"}, told]
    assert stamped["name"] == f"v{digest({'model': model})}"
    containers = MODE.stamp({"containers": [{"name": "kserve-container"}, {"name": "other"}]})
    assert [one.get("env") for one in containers["containers"]] == [
        [{**told, "value": containers["name"]}],
        None,
    ]


def test_canary_has_a_share_and_a_replica_even_at_0_percent():
    record = on_trial()
    spec = MODE.spec(record, 0)
    (canary,) = spec["canary"]
    assert spec["predictor"] == record.stable.template
    # Without minReplicas KServe would give a canary at 0 % no pods, and it could not be tried.
    assert (canary["trafficPercent"], canary["predictor"]["minReplicas"]) == (0, 1)
    assert canary["predictor"]["name"] == record.candidate.template["name"]


def test_canary_s_replicas_follow_its_share_and_it_does_not_scale():
    record = on_trial(minReplicas=4, maxReplicas=9, scaleMetric="cpu", scaleTarget=70)
    replicas = {
        percent: MODE.spec(record, percent)["canary"][0]["predictor"]["minReplicas"]
        for percent in (5, 50, 60, 100)
    }
    assert replicas == {5: 1, 50: 2, 60: 3, 100: 4}  # ceil(4 · share)
    canary = MODE.spec(record, 5)["canary"][0]["predictor"]
    assert canary.keys().isdisjoint({"maxReplicas", "scaleMetric", "scaleTarget"})


def test_without_a_split_the_two_change_places():
    record = replace(on_trial(), splits=False)
    stable, candidate = record.stable.template, record.candidate.template
    before, after = MODE.spec(record, 0), MODE.spec(record, 100)
    assert (before["predictor"], before["canary"][0]["predictor"]["name"]) == (
        stable,
        candidate["name"],
    )
    assert (after["predictor"], after["canary"][0]["predictor"]["name"]) == (
        candidate,
        stable["name"],
    )
    assert after["canary"][0]["trafficPercent"] == 0


def test_field_the_candidate_leaves_out_would_be_the_stable_predictor_s():
    stable = {"model": {"env": [{"name": "A"}], "args": ["-a"]}, "timeout": 5, "maxReplicas": 3}
    assert inherited(stable, {"model": {"args": []}}) == {"model.env", "model.args", "timeout"}
    assert inherited(stable, {"model": {"env": [1], "args": [2]}, "timeout": 1}) == set()
    record = ReleaseRecord(stable=known(1, serviceAccountName="a"), candidate=known(2))
    with pytest.raises(PlatformError, match="found no serviceAccountName, expected a value"):
        MODE.check(record)


def test_what_kserve_would_not_do_is_refused():
    with pytest.raises(PlatformError, match="minReplicas: found 0"):
        MODE.check(on_trial(minReplicas=0))
    with pytest.raises(PlatformError, match="spec.transformer: found one"):
        MODE.check(replace(on_trial(), extras={"transformer": {}}))
    with pytest.raises(PlatformError, match="42 letters.*at most 41"):
        check_name("s" * 42)
    check_name("s" * 41)  # 41 + "-v0123456789-predictor" (22) = 63


def deployment(**status):
    metadata = {"annotations": {"shopflow/template": "abc"}}
    spec = {"replicas": 2, "template": {"metadata": metadata}}
    return {"metadata": {"generation": 3}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({}, False),
        (
            {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
            True,
        ),
        # The template is new, the pods are still the old ones.
        (
            {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
            False,
        ),
        (
            {"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2},
            False,
        ),
        ({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2}, False),
    ],
)
def test_deployment_is_ready_when_its_newest_template_answers(status, ready):
    assert read_deployment(deployment(**status)) == ("abc", ready)


def route(*backends, generation=1, observed=None):
    refs = [{"name": name, **({"weight": w} if w is not None else {})} for name, w in backends]
    found = {"metadata": {"generation": generation}, "spec": {"rules": [{"backendRefs": refs}]}}
    if observed:
        condition = {"type": "Accepted", "status": "True", "observedGeneration": observed}
        found["status"] = {"parents": [{"conditions": [condition]}]}
    return found


def test_split_is_the_weights_of_the_route_in_percent():
    assert read_split(route(("a", 95), ("b", 5))) == ({"a": 95, "b": 5}, True)
    assert read_split(route(("a", 100), ("b", 0))) == ({"a": 100}, True)
    assert read_split(route(("a", None))) == ({"a": 100}, False)
    assert read_split(route(("a", 1), ("b", 3))) == ({"a": 25, "b": 75}, True)


def test_rules_that_disagree_are_no_split():
    both = route(("a", 95), ("b", 5))
    both["spec"]["rules"].append(route(("a", 100))["spec"]["rules"][0])
    assert read_split(both) == ({}, True)
    assert read_split({"spec": {}}) == ({}, False)


def test_route_is_settled_when_its_gateways_have_seen_the_newest_version():
    assert is_settled(route(("a", 1), generation=2, observed=2))
    assert not is_settled(route(("a", 1), generation=2, observed=1))
    assert is_settled(route(("a", 1)))  # no gateway reports on it


def test_backends_of_an_ingress_are_those_of_the_service_s_own_host():
    def rule(host, name):
        path = {"path": "/", "backend": {"service": {"name": name}}}
        return {"host": host, "http": {"paths": [path]}}

    rules = [rule("shop.example.com", "shop-v1-predictor"), rule("other", "x")]
    assert backends_of_ingress({"spec": {"rules": rules}}) == ["shop-v1-predictor"]
    assert backends_of_ingress({"spec": {}}) == []
