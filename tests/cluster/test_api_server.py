"""The lowest rung: what a real API server says about our resources, with nothing behind it."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ForbiddenError, UnprocessibleEntityError

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings
from tests.cluster.manifests import connect

ROOT = Path(__file__).parents[2]


def inference_service(namespace: str) -> dict:
    return build_inference_service(
        service="recommender",
        namespace=namespace,
        package_uri="gs://models/recommender/1",
        settings=DeploySettings(),
    )


def test_the_inference_service_deploy_builds_is_stored_as_it_is(api_server, bare_namespace):
    client = connect(api_server.kubeconfig)
    resource = client.resources.get(
        api_version="serving.kserve.io/v1beta1", kind="InferenceService"
    )
    wanted = inference_service(bare_namespace)
    client.server_side_apply(
        resource, body=wanted, field_manager="shopflow", namespace=bare_namespace
    )
    stored = client.get(resource, name="recommender", namespace=bare_namespace).to_dict()
    assert stored["spec"] == wanted["spec"]  # nothing dropped as unknown, nothing changed


def test_a_share_above_100_percent_is_refused_by_kserve_s_own_schema(api_server, bare_namespace):
    client = connect(api_server.kubeconfig)
    resource = client.resources.get(
        api_version="serving.kserve.io/v1beta1", kind="InferenceService"
    )
    wanted = inference_service(bare_namespace)
    wanted["spec"]["canary"] = [{"trafficPercent": 101, "predictor": wanted["spec"]["predictor"]}]
    with pytest.raises((UnprocessibleEntityError, ApiException), match="trafficPercent"):
        client.create(resource, body=wanted, namespace=bare_namespace)


def test_a_user_without_a_role_may_read_nothing(api_server, bare_namespace):
    client = connect(api_server.write_kubeconfig("nobody"))
    resource = client.resources.get(
        api_version="serving.kserve.io/v1beta1", kind="InferenceService"
    )
    with pytest.raises(ForbiddenError, match="nobody"):
        client.get(resource, namespace=bare_namespace)


def test_killing_the_tests_outright_ends_every_program(binaries, tmp_path):
    program = (
        "import time; from pathlib import Path; from tests.cluster.api_server import ApiServer\n"
        f"server = ApiServer(Path({str(binaries)!r}), Path({str(tmp_path)!r}))\n"
        "print(*(daemon.pid for daemon in server.daemons), flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 2
    handles = [os.pidfd_open(pid) for pid in pids]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    for handle in handles:
        assert ended(handle), f"{pids}: one still runs"


def ended(handle: int) -> bool:
    return bool(select.select([handle], [], [], 30)[0])
