"""Deploy and rollout steps as a pipeline runs them, each with a connection of its own."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.deploy.deploy import deploy
from components.deploy.settings import DeploySettings
from components.errors import InputError
from components.object_store import open_store, upload_tree
from components.rollout.policy import RolloutPolicy
from components.rollout.rollout import roll_out
from serving.platform import RevisionMetrics, connect
from serving.platform.__main__ import app
from serving.platform.cluster import path as path_of
from serving.platform.kserve import KServePlatform
from tests.cluster.kserve_stand_in import ISVC, cluster_of
from tests.cluster.test_kserve_platform import WAITS, service, stand_in
from tests.test_object_store import emulator  # noqa: F401  # a fixture

ROOT = Path(__file__).parents[2]
QUICK = RolloutPolicy(steps=(50, 100), min_requests=50, poll_s=0.05, step_timeout_s=60.0)


class Models:
    """The gateway of a cluster whose models answer, or do not."""

    def __init__(self) -> None:
        self.items = 20  # as many as the package's, so that its golden requests are answered
        self.score: float | None = 105.0
        models = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                best = ["item4", f"item{models.items - 1}", f"item{models.items - 2}"]
                scores = [models.score, float(models.items), models.items - 1.0]
                row = {"items": best, "scores": scores}
                answer = json.dumps({"predictions": [row] * len(body["instances"])}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Models":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Counters:
    """A metrics source whose revisions answer 100 requests between two looks, in 5 ms each."""

    def __init__(self) -> None:
        self.looks = 0

    def read(self, service, *, namespace, revisions):
        self.looks += 1
        count = 100 * self.looks
        return {
            name: RevisionMetrics({200: count}, {5.0: count, float("inf"): count})
            for name in revisions
        }


@pytest.fixture(scope="module")
def packages(emulator, tmp_path_factory) -> list[str]:  # noqa: F811  # the fixture
    """Two published versions on gs://."""
    from tests.serving.tiny_package import publish_tiny

    store = tmp_path_factory.mktemp("store")
    uris = []
    for version in (1, 2):
        folder = publish_tiny(store, version=version, items=20 + version)
        upload_tree(open_store("gs://shop/models"), folder, prefix=str(version))
        uris.append(f"gs://shop/models/{version}")
    return uris


@pytest.fixture
def release(api_server, bare_namespace, tmp_path, monkeypatch):
    """What a pipeline does to release a package, on a cluster in Knative mode."""
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig))
    path = tmp_path / "release.json"
    with stand_in(api_server, bare_namespace, "knative") as controllers, Models() as models:
        name = f"kserve:gateway={models.url},controller={bare_namespace}"

        def run(package_uri: str, **settings: Any) -> Path:
            models.items = 20 + int(package_uri[-1])
            deploy(
                package_uri=package_uri,
                service="shop",
                platform=name,
                namespace=bare_namespace,
                settings=DeploySettings(**settings),
                release_path=path,
            )
            return path

        def platform() -> KServePlatform:
            return KServePlatform(
                cluster_of(api_server.kubeconfig),
                namespace=bare_namespace,
                metrics=Counters(),
                waits=WAITS,
                controller=controllers.controller,
            )

        run.models, run.platform = models, platform
        run.name, run.namespace = name, bare_namespace
        run.status = lambda: connect(name, namespace=bare_namespace).status("shop")
        run.controllers = controllers
        run.others = lambda: [
            one
            for one in controllers.cluster.items(path_of(ISVC, "inferenceservices", bare_namespace))
            if one["metadata"]["name"] != "shop"
        ]
        yield run


def rolled_out(release, path: Path, platform: KServePlatform | None) -> str:
    outcome = roll_out(
        release_path=path,
        # Without metrics nothing but the time ends a step.
        policy=QUICK if platform else replace(QUICK, step_timeout_s=1.0),
        outcome_path=path.with_name("outcome.json"),
        report_path=path.with_name("report.html"),
        platform=platform,
    )
    return outcome.outcome


def test_release_is_promoted_by_its_metrics(release, packages):
    for uri in packages:
        assert rolled_out(release, release(uri), release.platform()) == "promoted"
    status = release.status()
    assert (status.stable.storage_uri, status.canary) == (packages[1], None)
    first, second = "shop-predictor-00001", "shop-predictor-00002"
    assert release.controllers.splits == [
        {first: 100}, {first: 50, second: 50}, {second: 100},
    ]  # fmt: skip


def test_release_without_prometheus_is_rolled_back_when_its_time_is_over(release, packages):
    assert rolled_out(release, release(packages[0]), release.platform()) == "promoted"
    assert rolled_out(release, release(packages[1]), None) == "rolled_back"
    status = release.status()
    assert (status.stable.storage_uri, status.canary) == (packages[0], None)
    assert status.stable.traffic_percent == 100


def test_candidate_that_fails_its_smoke_test_never_has_users(release, packages):
    assert rolled_out(release, release(packages[0]), release.platform()) == "promoted"
    release.models.score = None
    with pytest.raises(InputError, match=r"golden request 0: found scores \[None, "):
        release(packages[1], infrastructure_check=False)
    status = release.status()
    assert (status.stable.storage_uri, status.canary) == (packages[0], None)
    assert "finite numbers" in status.last_rollback.reason
    assert "shop-predictor-00002" not in [n for split in release.controllers.splits for n in split]


def test_candidate_that_fails_on_its_own_leaves_the_service_as_it_was(release, packages):
    assert rolled_out(release, release(packages[0]), release.platform()) == "promoted"
    platform = release.platform()
    before, record = platform._changes.live("shop"), platform._records.read("shop")
    release.models.score = None
    with pytest.raises(
        InputError, match="failed its infrastructure check: golden request 0: "
    ) as e:
        release(packages[1])
    assert "\n" not in str(e.value) and "the service was not touched" in str(e.value)
    assert platform._changes.live("shop")["spec"] == before["spec"]
    assert platform._records.read("shop") == record
    assert not release.others()


@pytest.mark.parametrize("infrastructure_check", [True, False])
def test_deployment_beside_a_running_rollout_is_refused_and_leaves_it_alone(
    release, packages, infrastructure_check
):
    assert rolled_out(release, release(packages[0]), release.platform()) == "promoted"
    running = release.platform()
    running.deploy(service(3))
    running.set_traffic("shop", 50)
    with pytest.raises(InputError, match="found a rollout of .* expected none"):
        release(packages[1], infrastructure_check=infrastructure_check)
    canary = release.status().canary
    assert (canary.storage_uri, canary.traffic_percent) == ("gs://models/shop/3", 50)
    assert not release.others()


def test_deployment_waits_for_the_running_rollout_to_end_when_told_to(release, packages):
    assert rolled_out(release, release(packages[0]), release.platform()) == "promoted"
    running = release.platform()
    running.deploy(service(3))
    ended = threading.Timer(2.0, running.roll_back, ["shop"], {"reason": "bad"})
    ended.start()
    release(packages[1], wait_for_rollout_s=120.0)
    ended.join()
    assert release.status().canary.storage_uri == packages[1]
    assert release.status().stable.storage_uri == packages[0]


def test_temporary_services_are_cleaned_up_from_the_command_line(release, packages):
    platform = release.platform()
    platform._temporary._now = lambda: datetime.now(UTC) - timedelta(hours=1)
    alone = service(1)
    alone["metadata"]["name"] = "shop-1a2b3c"
    trial = platform.temporary_service(alone, instead_of=service(1), timeout_s=15.0)
    trial.__enter__()  # and no more: as a process that was killed
    options = ["shop", "--platform", release.name, "--namespace", release.namespace]
    cleaned = CliRunner().invoke(app, ["clean-up", *options])
    assert cleaned.exit_code == 0, cleaned.output
    assert cleaned.output.startswith("shop-1a2b3c: deleted, it expired at ")
    assert not release.others()


def test_rollout_whose_process_dies_after_promoting_is_promoted_when_repeated(release, packages):
    """The cluster has obeyed, the record does not know it yet."""
    path = release(packages[0])
    dying = release.platform()
    dying.set_traffic("shop", 100)
    dying._records.write = None  # what is called next is the end of this process
    with pytest.raises(TypeError):
        dying.promote("shop")
    assert rolled_out(release, path, release.platform()) == "promoted"
    assert release.status().stable.storage_uri == packages[0]


def test_running_rollout_is_aborted_from_the_command_line_and_its_process_says_so(
    release, packages, api_server
):
    assert rolled_out(release, release(packages[0]), release.platform()) == "promoted"
    path = release(packages[1])
    outputs = ["--evidence", "outcome.json", "--report", "report.html"]
    running = subprocess.Popen(  # without Prometheus there is no data: it holds
        [sys.executable, "-m", "components.rollout", "--release", str(path), *outputs]
        + ["--steps", "50,100", "--poll-s", "0.2"],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    options = ["shop", "--platform", release.name, "--namespace", release.namespace]
    while "50 %" not in CliRunner().invoke(app, ["releases", *options, "--events"]).output:
        assert running.poll() is None
    done = CliRunner().invoke(app, ["abort", *options, "--reason", "wrong prices"])
    assert done.exit_code == 0, done.output
    _, told = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "wrong prices" in told.splitlines()[-1] and "Traceback" not in told
    outcome = json.loads(path.with_name("outcome.json").read_text())
    assert (outcome["outcome"], outcome["reason"]) == ("rolled_back", "wrong prices")
    status = release.status()
    assert (status.canary, status.stable.storage_uri) == (None, packages[0])
    first, second = release.platform().releases("shop").releases
    assert [(event.what, event.why) for event in first.events] == [
        ("deployed", ""),
        ("ready", ""),
        ("traffic", "100 %"),
        ("promoted", "every step passed"),
    ]
    assert [(event.what, event.why) for event in second.events] == [
        ("deployed", ""),
        ("ready", ""),
        ("traffic", "50 %"),
        ("rolled_back", "wrong prices"),
    ]
    # The run that made the package, of its manifest; and who the API server says it was.
    assert {(one.provenance.run, one.events[0].by) for one in (first, second)} == {
        ("run-1", "shopflow-admin"), ("run-2", "shopflow-admin"),
    }  # fmt: skip


def test_package_of_this_machine_is_refused_before_the_cluster_is_changed(
    release, packages, tmp_path
):
    from tests.serving.tiny_package import publish_tiny

    with pytest.raises(InputError, match="storageUri: found '/.*expected gs, s3"):
        release(str(publish_tiny(tmp_path)))
    assert (release.status().stable, release.status().canary) == (None, None)
