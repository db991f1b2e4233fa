"""What is refused before a cluster is asked, and the record that outlives a pipeline."""

from dataclasses import replace

import pytest

from serving.platform import PlatformError, Provenance, Rollback
from serving.platform.inference_service import storage_uri
from serving.platform.release_record import KnownRevision, ReleaseRecord, parse_record
from serving.platform.releases import ReleaseLog
from serving.platform.requested import read_request


def resource():
    model = {"modelFormat": {"name": "shopflow"}, "storageUri": "gs://models/shop/3"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "shop", "namespace": "ml"},
        "spec": {"predictor": {"model": model, "canaryTrafficPercent": 7}},
    }


def test_request_is_the_predictor_without_a_split():
    asked = read_request(resource(), namespace="ml")
    assert (asked.service, asked.template) == (
        "shop",
        {"model": resource()["spec"]["predictor"]["model"]},
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(kind="Pod"), "expected .*InferenceService"),
        (lambda r: r["metadata"].update(name="Shop"), "metadata.name: found 'Shop'"),
        (lambda r: r["metadata"].update(name="1shop"), "found '1shop', expected a letter first"),
        (lambda r: r["metadata"].update(namespace="x"), "found 'x', expected 'ml'"),
        (lambda r: r["spec"].update(predictor={}), "spec.predictor: found neither or both"),
        (lambda r: r["spec"].update(canary=[]), "spec.canary: found one"),
        (
            lambda r: r["spec"]["predictor"]["model"].update(storageUri="/models/shop/3"),
            "storageUri: found '/models/shop/3', expected gs, s3",
        ),
        (
            lambda r: r["spec"]["predictor"]["model"].update(storageUri="ftp://x"),
            "storageUri: found 'ftp://x'",
        ),
        (lambda r: r["spec"]["predictor"]["model"].pop("storageUri"), "storageUri: found ''"),
    ],
)
def test_request_no_cluster_could_serve_is_refused_in_one_line(change, message):
    asked = resource()
    change(asked)
    with pytest.raises(PlatformError, match=message) as refusal:
        read_request(asked, namespace="ml")
    assert "\n" not in str(refusal.value)


def test_record_is_read_as_it_was_written():
    stable = KnownRevision({"model": {"storageUri": "gs://m/1"}}, "shop-1")
    record = ReleaseRecord(stable=stable, last_rollback=Rollback("shop-2", "5 % errors"))
    log = ReleaseLog().opened(
        resource(), Provenance(1, "run"), digest="d", storage_uri="gs://m/1", at="2026", by="me"
    )
    record = replace(record, log=log)
    assert parse_record(record.dump(), version="7").dump() == record.dump()
    assert parse_record(record.dump(), version="7") == replace(record, version="7")
    with pytest.raises(PlatformError, match="release record: found"):
        parse_record("{}")


def test_package_of_a_custom_server_is_in_its_environment():
    container = {"env": [{"name": "STORAGE_URI", "value": "gs://m/1"}]}
    assert storage_uri({"containers": [container]}) == "gs://m/1"
    assert storage_uri({}) == ""
