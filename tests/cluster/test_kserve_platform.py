"""The KServe platform on a real API server, with a stand-in for the controllers."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings
from serving.platform import PlatformError, RevisionFailed, ServiceStatus
from serving.platform.changes import Waits
from serving.platform.cluster import path
from serving.platform.kserve import KServePlatform
from serving.platform.prediction import Sender
from serving.platform.release_record import KnownRevision, ReleaseRecord
from serving.platform.requested import read_request
from serving.platform.standard import StandardMode
from tests.cluster.api_server import ApiServer
from tests.cluster.controllers import KServeItself
from tests.cluster.kserve_stand_in import ISVC, KServeStandIn, cluster_of

WAITS = Waits(poll_s=0.05, change_s=60.0, grace_s=2.0, route_s=5.0, restore_s=60.0)
# KServe's own controller: on Knative's own, in Standard mode with the weights that canaries have
# since 0.21, and as 0.20 is, without. A stand-in: an Ingress, and Knative with the controllers'
# worst timing.
CONTROLLERS = ["stand-in-knative", "stand-in-ingress", "knative", "standard", "standard-0.20"]


class Deploying(KServePlatform):
    """A platform whose tests do not wait five minutes for what never comes."""

    annotations: Mapping[str, str] = {}

    def deploy(self, inference_service, *, timeout_s=60.0, provenance=None):
        metadata = {**inference_service["metadata"], "annotations": dict(self.annotations)}
        inference_service = {**inference_service, "metadata": metadata}
        return super().deploy(inference_service, timeout_s=timeout_s, provenance=provenance)


def service(version: int | str, **predictor: Any) -> dict[str, Any]:
    """An InferenceService of one published version, or of the package at a URI."""
    uri = version if isinstance(version, str) else f"gs://models/shop/{version}"
    model = {"modelFormat": {"name": "shopflow"}, "storageUri": uri}
    return {
        "apiVersion": ISVC,
        "kind": "InferenceService",
        "metadata": {"name": "shop"},
        "spec": {"predictor": {"model": model, **predictor}},
    }


@pytest.fixture(params=CONTROLLERS)
def controllers(request: pytest.FixtureRequest) -> Iterator[KServeStandIn | KServeItself]:
    """Controllers of one kind, for a namespace of its own."""
    if request.param.startswith("stand-in"):
        server, namespace = map(request.getfixturevalue, ("api_server", "bare_namespace"))
        with stand_in(server, namespace, request.param.removeprefix("stand-in-")) as running:
            yield running
        return
    weighted = request.param != "standard-0.20"
    names = ("cluster", "namespace") if weighted else ("own_cluster", "namespace_without_weights")
    cluster, namespace = map(request.getfixturevalue, names)
    mode = "Knative" if request.param == "knative" else "Standard"
    with KServeItself(cluster, namespace, mode, weighted=weighted) as running:
        yield running


def stand_in(server: ApiServer, namespace: str, kind: str) -> KServeStandIn:
    """A stand-in, its configuration where KServe's would be, in the test's namespace."""
    admin = cluster_of(server.kubeconfig)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    admin.create(path("v1", "serviceaccounts", namespace), account)
    mode = "Knative" if kind == "knative" else "Standard"
    data = {"deploy": json.dumps({"defaultDeploymentMode": mode})}
    data["ingress"] = json.dumps({"enableGatewayApi": kind != "ingress"})
    kserve = {"metadata": {"name": "inferenceservice-config"}, "data": data}
    admin.create(path("v1", "configmaps", namespace), kserve)
    route = "ingress" if kind == "ingress" else "weights"
    return KServeStandIn(server.kubeconfig, namespace, mode, route)


@pytest.fixture
def platform(controllers) -> KServePlatform:
    return connected(controllers)


def connected(controllers, **options: Any) -> KServePlatform:
    """A platform of its own for the namespace."""
    platform = Deploying(
        cluster_of(controllers.kubeconfig),
        namespace=controllers.namespace,
        waits=WAITS,
        controller=controllers.controller,
        **options,
    )
    platform.annotations = controllers.annotations
    return platform


class Gateway:
    """Answers every prediction, and remembers path and host of the request."""

    def __enter__(self):
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append((self.path, self.headers["Host"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"predictions": []}')

            def log_message(self, *_):
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def promoted(platform: KServePlatform, version: int) -> str:
    """Release a version to everybody and return its revision's name."""
    platform.deploy(service(version))
    platform.set_traffic("shop", 100)
    return platform.promote("shop").stable.name


def test_first_release_is_ready_and_has_no_users_until_it_gets_traffic(platform, controllers):
    status = platform.deploy(service(1))
    assert status.stable is None
    assert (status.canary.ready, status.canary.traffic_percent) == (True, 0)
    assert status.canary.storage_uri == "gs://models/shop/1"
    assert controllers.splits == []
    assert platform.set_traffic("shop", 100).canary.traffic_percent == 100
    after = platform.promote("shop")
    assert (after.stable.name, after.canary) == (status.canary.name, None)
    assert controllers.splits == [{status.canary.name: 100}]


def test_canary_gets_the_share_it_is_given_by_name(platform, controllers):
    stable = promoted(platform, 1)
    canary = platform.deploy(service(2)).canary.name
    if controllers.route != "weights":
        with pytest.raises(PlatformError, match="asked for 5 %, expected 0 or 100: this cluster"):
            platform.set_traffic("shop", 5)
        assert controllers.splits == [{stable: 100}]
        return
    for percent in (5, 50):
        status = platform.set_traffic("shop", percent)
        assert (status.stable.name, status.stable.traffic_percent) == (stable, 100 - percent)
        assert (status.canary.name, status.canary.traffic_percent) == (canary, percent)
    assert controllers.splits[-2:] == [{stable: 95, canary: 5}, {stable: 50, canary: 50}]


def test_promoted_canary_is_the_only_revision(platform, controllers):
    stable = promoted(platform, 1)
    canary = promoted(platform, 2)
    status = platform.status("shop")
    assert (status.stable.name, status.canary) == (canary, None)
    assert (status.stable.ready, status.stable.traffic_percent) == (True, 100)
    assert status.stable.storage_uri == "gs://models/shop/2"
    assert controllers.splits == [{stable: 100}, {canary: 100}]


@pytest.mark.parametrize("percent", [0, 100])
def test_rolled_back_canary_leaves_the_old_model_to_everybody_and_the_reason(
    platform, controllers, percent
):
    promoted(platform, 1)
    stable = promoted(platform, 2)
    canary = platform.deploy(service(3)).canary.name
    platform.set_traffic("shop", percent)
    status = platform.roll_back("shop", reason="5 % of\n  errors")
    assert status.canary is None
    assert (status.stable.storage_uri, status.stable.traffic_percent) == ("gs://models/shop/2", 100)
    assert (status.last_rollback.revision, status.last_rollback.reason) == (
        canary,
        "5 % of\n  errors",
    )
    assert [canary in split for split in controllers.splits].count(True) == (percent == 100)
    if controllers.mode == "Standard":  # Knative brings the old predictor back as a new revision
        assert status.stable.name == stable
    assert platform.status("shop") == status


def test_rolling_back_a_first_release_takes_the_service_away_and_keeps_the_reason(
    platform, controllers
):
    canary = platform.deploy(service(1)).canary.name
    status = platform.roll_back("shop", reason="smoke")
    assert (status.url, status.stable, status.canary) == (None, None, None)
    assert (status.last_rollback.revision, status.last_rollback.reason) == (canary, "smoke")
    assert controllers.splits == []


def test_equal_predictor_changes_nothing(platform, controllers):
    stable = promoted(platform, 1)
    before = platform.status("shop")
    generation = live(platform)["metadata"]["generation"]
    again = platform.deploy(service(1))
    assert (again.stable, again.canary) == (before.stable, before.canary)
    assert before.stable.name == stable
    assert live(platform)["metadata"]["generation"] == generation


def test_equal_predictor_takes_a_canary_away_that_somebody_left(platform, controllers):
    promoted(platform, 1)
    left = platform.deploy(service(2)).canary.name
    later = datetime.now(UTC) + timedelta(hours=1)
    status = connected(controllers, now=lambda: later).deploy(service(1))
    assert (status.canary, status.stable.storage_uri) == (None, "gs://models/shop/1")
    assert status.stable.traffic_percent == 100
    assert not any(left in split for split in controllers.splits)


def test_canary_somebody_left_is_replaced_after_its_lease(controllers):
    platform = connected(controllers)
    stable = promoted(platform, 1)
    left = platform.deploy(service(2)).canary.name
    with pytest.raises(PlatformError, match="found a rollout of .* expected none"):
        connected(controllers).deploy(service(3))
    assert platform.status("shop").canary.name == left
    later = datetime.now(UTC) + timedelta(hours=1)
    status = connected(controllers, now=lambda: later).deploy(service(3))
    assert status.canary.name != left
    assert (status.canary.storage_uri, status.canary.traffic_percent) == ("gs://models/shop/3", 0)
    assert (status.stable.name, status.stable.traffic_percent) == (stable, 100)
    for verb in (lambda: platform.set_traffic("shop", 100), lambda: platform.promote("shop")):
        with pytest.raises(PlatformError, match="found canary .* of another rollout"):
            verb()


def test_candidate_that_cannot_start_fails_with_the_reason_and_has_no_users(platform, controllers):
    stable = promoted(platform, 1)
    with pytest.raises(RevisionFailed, match=controllers.words) as failure:
        platform.deploy(service(controllers.broken))
    assert "exit code" in str(failure.value) and "\n" not in str(failure.value)
    status = platform.status("shop")
    assert (status.canary.ready, status.canary.traffic_percent) == (False, 0)
    assert controllers.told in status.canary.reason
    assert status.stable.traffic_percent == 100
    after = platform.roll_back("shop", reason=str(failure.value))
    assert (after.canary, after.stable.storage_uri) == (None, "gs://models/shop/1")
    assert after.last_rollback.revision == status.canary.name
    assert controllers.splits == [{stable: 100}] + [{after.stable.name: 100}] * (
        controllers.mode == "Knative"  # brings the old predictor back as a new revision
    )


def test_first_candidate_that_cannot_start_fails_with_the_reason(platform, controllers):
    with pytest.raises(RevisionFailed, match="ModelLoadFailed.*" + controllers.words):
        platform.deploy(service(controllers.broken))
    assert platform.roll_back("shop", reason="broken").canary is None
    assert controllers.splits == []


def test_controller_that_never_reacts_is_told(api_server, bare_namespace):
    with stand_in(api_server, bare_namespace, "knative") as controllers:
        platform = connected(controllers)
        promoted(platform, 1)
        controllers.paused.set()
        with pytest.raises(RevisionFailed, match="not ready in 1 s"):
            platform.deploy(service(2), timeout_s=1.0)
        controllers.paused.clear()
        assert platform.roll_back("shop", reason="late").stable.traffic_percent == 100


def test_roll_back_is_not_blamed_for_the_failure_it_takes_back(api_server, bare_namespace):
    """KServe goes on telling the broken revision's failure until it has made the old one anew."""
    with stand_in(api_server, bare_namespace, "knative") as controllers:
        platform = connected(controllers)
        promoted(platform, 1)
        with pytest.raises(RevisionFailed):
            platform.deploy(service(controllers.broken))
        controllers.paused.set()
        resume = threading.Timer(3 * WAITS.grace_s, controllers.paused.clear)
        resume.start()
        status = platform.roll_back("shop", reason="broken")
        resume.join()
        assert (status.canary, status.stable.traffic_percent) == (None, 100)
        assert status.stable.storage_uri == "gs://models/shop/1"


def test_spec_changed_by_somebody_else_is_reported_and_not_overwritten(platform, controllers):
    promoted(platform, 1)
    platform.deploy(service(2))
    body = {"apiVersion": ISVC, "kind": "InferenceService", "metadata": {"name": "shop"}}
    body["spec"] = {"predictor": {"model": {"storageUri": "gs://models/shop/9"}}}
    editor = cluster_of(controllers.kubeconfig, manager="kubectl-edit")
    where = path(ISVC, "inferenceservices", controllers.namespace, "shop")
    editor.apply(where, body, force=True)
    with pytest.raises(PlatformError, match='conflict with "kubectl-edit"'):
        platform.set_traffic("shop", 100)
    assert live(platform)["spec"]["predictor"]["model"]["storageUri"] == "gs://models/shop/9"
    status = platform.roll_back("shop", reason="edited")
    assert (status.stable.storage_uri, status.stable.traffic_percent) == ("gs://models/shop/1", 100)


def test_twenty_releases_leave_one_stable_revision_and_nothing_else(platform, controllers):
    names = [promoted(platform, version) for version in range(1, 21)]
    status = platform.status("shop")
    assert (status.stable.name, status.canary) == (names[-1], None)
    # Nobody was ever sent anywhere but to the stable revision, or to the one promoted next.
    assert controllers.splits == [{name: 100} for name in names]
    cluster = controllers.cluster
    if controllers.mode == "Standard":
        where = path("apps/v1", "deployments", controllers.namespace)
        deadline = time.monotonic() + 60
        while (left := [one["metadata"]["name"] for one in cluster.items(where)]) != [names[-1]]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    assert "canaryTrafficPercent" not in live(platform)["spec"]["predictor"]
    assert "canary" not in live(platform)["spec"]
    leases = cluster.items(path("coordination.k8s.io/v1", "leases", controllers.namespace))
    assert leases == []


def test_deleted_service_leaves_nothing(platform, controllers):
    promoted(platform, 1)
    platform.deploy(service(2))
    platform.delete("shop")
    platform.delete("shop")
    assert platform.status("shop") == ServiceStatus("shop")
    mine = path("v1", "configmaps", controllers.namespace)
    left = controllers.cluster.items(mine, labelSelector="app.kubernetes.io/managed-by=shopflow")
    assert left == []


def test_request_goes_to_the_revision_that_is_named(platform, controllers):
    stable = promoted(platform, 1)
    canary = platform.deploy(service(2)).canary.name
    with Gateway() as gateway:
        sending = connected(controllers, sender=Sender(gateway.url))
        answer = sending.predict("shop", {"instances": [{"user": "u"}]}, revision=canary)
        assert (answer.status_code, answer.revision) == (200, canary)
        sending.predict("shop", {"instances": []}, revision=stable)
        sending.predict("shop", {"instances": []})
        with pytest.raises(PlatformError, match="found no address of shop-predictor-9"):
            sending.predict("shop", {"instances": []}, revision="shop-predictor-9")
    paths, hosts = zip(*gateway.asked, strict=True)
    assert set(paths) == {"/v1/models/shop:predict"}
    if controllers.mode == "Standard":
        assert hosts[:2] == (
            f"{canary}.{controllers.namespace}.svc",
            f"{stable}.{controllers.namespace}.svc",
        )
    else:
        assert [host.split("-")[0] for host in hosts[:2]] == ["latest", "prev"]
    assert hosts[2].startswith("shop") and hosts[2].endswith("example.com")


def test_metrics_without_prometheus_are_no_data(platform):
    with pytest.raises(PlatformError, match="shop: no data: found no Prometheus, expected kserve:"):
        platform.metrics("shop")


def test_metrics_are_asked_for_by_revision_name(platform, controllers):
    class Source:
        def read(self, service, *, namespace, revisions):
            self.asked = (service, namespace, sorted(revisions))
            return {}

    stable = promoted(platform, 1)
    canary = platform.deploy(service(2)).canary.name
    source = Source()
    assert connected(controllers, metrics=source).metrics("shop") == {}
    assert source.asked == ("shop", controllers.namespace, sorted([stable, canary]))


def test_change_of_settings_alone_is_a_release_of_its_own(platform, controllers):
    promoted(platform, 1)
    if controllers.mode == "Standard" and isinstance(controllers, KServeItself):
        # KServe promotes by predictor.name, which it lets change only together with the model.
        with pytest.raises(PlatformError, match="refused before anything changed.*model change"):
            platform.deploy(service(1, timeout=7))
        assert "canary" not in live(platform)["spec"]
        return
    assert platform.deploy(service(1, timeout=7)).canary.storage_uri == "gs://models/shop/1"


@pytest.mark.parametrize(
    "settings",
    [
        {"cpu": "1", "memory": "2Gi", "gpus": 1, "service_account": "models", "min_replicas": 1},
        {"autoscaler": "hpa", "scale_metric": "cpu", "scale_target": 70, "max_replicas": 4},
        {
            "autoscaler": "keda",
            "keda_query": "up",
            "keda_server": "http://prometheus:9090",
            "keda_threshold": "10",
        },
        {"image": "registry.example/shopflow/predictor:1", "secret_env": {"A": "secret/key"}},
        {"logger_url": "http://events.example", "scraped": True, "pull_secrets": ("registry",)},
    ],
)
def test_kserve_accepts_every_setting_for_a_canary_and_for_its_promotion(
    cluster, namespace, settings
):
    with KServeItself(cluster, namespace, "Standard", weighted=True) as controllers:
        platform = connected(controllers)
        known = []
        for version in (1, 2):
            built = build_inference_service(
                service="shop",
                namespace=namespace,
                package_uri=f"gs://models/shop/{version}",
                settings=DeploySettings(**settings),
            )
            template = read_request(built, namespace=namespace).template
            mode = StandardMode(controllers.cluster, namespace)
            known.append(KnownRevision(mode.stamp(template)))
        first = ReleaseRecord(candidate=known[0], annotations=controllers.annotations)
        platform._trials.rehearse("shop", first, mode)
        platform._changes.apply("shop", platform._trials.body("shop", first, mode), None)
        both = ReleaseRecord(stable=known[0], candidate=known[1])
        mode.check(both)
        platform._trials.rehearse("shop", both, mode)
        assert live(platform)["spec"]["predictor"]["name"] == known[0].template["name"]


def live(platform: KServePlatform) -> dict[str, Any]:
    """The InferenceService as the API server has it."""
    return platform._changes.live("shop")
