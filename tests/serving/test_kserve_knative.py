"""Knative mode: what is asked for, and how a status is read."""

from dataclasses import replace

import pytest

from serving.platform import PlatformError
from serving.platform.cluster import Cluster
from serving.platform.inference_service import digest
from serving.platform.knative import KnativeMode, check_name, read_traffic
from serving.platform.release_record import KnownRevision, ReleaseRecord

TEMPLATE = {"model": {"modelFormat": {"name": "shopflow"}, "storageUri": "gs://models/shop/1"}}
MODE = KnativeMode(Cluster(None), "ml")  # the rules that are tested here ask no cluster
STABLE = KnownRevision(MODE.stamp(TEMPLATE), "shop-predictor-00001")
NEXT = {**TEMPLATE, "timeout": 5}
CANDIDATE = KnownRevision(MODE.stamp(NEXT), "shop-predictor-00002")
ON_TRIAL = ReleaseRecord(stable=STABLE, candidate=CANDIDATE)


def test_predictor_is_stamped_with_its_digest_and_gets_a_url_of_its_own():
    assert STABLE.template["annotations"] == {
        "shopflow/template": digest(TEMPLATE),
        "serving.kserve.io/enable-tag-routing": "true",
    }
    assert STABLE.digest != CANDIDATE.digest
    assert KnownRevision(MODE.stamp(dict(reversed(NEXT.items())))).digest == CANDIDATE.digest


def test_candidate_has_a_share_only_beside_a_stable_revision():
    assert MODE.spec(ON_TRIAL, 5) == {
        "predictor": {**CANDIDATE.template, "canaryTrafficPercent": 5}
    }
    assert MODE.spec(ON_TRIAL, 0)["predictor"]["canaryTrafficPercent"] == 0
    # On a first deployment KServe ignores the field; the service is hidden in place of it.
    assert MODE.spec(replace(ON_TRIAL, stable=None), 0) == {"predictor": CANDIDATE.template}
    assert MODE.spec(replace(ON_TRIAL, candidate=None), 0) == {"predictor": STABLE.template}


def test_split_is_the_sum_by_revision_name():
    """While revision 2 starts, "latest" is still revision 1 (kserve ksvc_reconciler.go)."""
    prev = {
        "latestRevision": False,
        "percent": 95,
        "revisionName": "shop-predictor-00001",
        "tag": "prev",
        "url": "http://prev-shop-predictor.ml.example.com",
    }
    latest = {"latestRevision": True, "percent": 5, "revisionName": "shop-predictor-00001"}
    assert read_traffic({"traffic": [latest, prev]}) == (
        {"shop-predictor-00001": 100},
        {"shop-predictor-00001": "http://prev-shop-predictor.ml.example.com"},
    )
    latest |= {
        "revisionName": "shop-predictor-00002",
        "tag": "latest",
        "url": "http://latest-shop-predictor.ml.example.com",
    }
    split, urls = read_traffic({"traffic": [latest, prev]})
    assert split == {"shop-predictor-00002": 5, "shop-predictor-00001": 95}
    assert urls["shop-predictor-00002"] == "http://latest-shop-predictor.ml.example.com"
    assert read_traffic({"traffic": [latest | {"percent": 0}, prev]})[0] == {
        "shop-predictor-00001": 95
    }
    assert read_traffic({}) == ({}, {})


def test_name_of_a_predictor_is_refused_where_it_would_be_another_service():
    named = KnownRevision({**TEMPLATE, "name": "v2"})
    with pytest.raises(PlatformError, match="predictor.name: found 'v2', expected none"):
        MODE.check(ReleaseRecord(stable=STABLE, candidate=named))


def test_service_name_must_leave_room_for_the_tag_in_a_host_name():
    check_name("s" * 46)  # "latest-" + 46 + "-predictor" = 63
    with pytest.raises(PlatformError, match="47 letters.*at most 46"):
        check_name("s" * 47)
