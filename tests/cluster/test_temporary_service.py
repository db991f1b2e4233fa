"""Temporary InferenceServices on KServe's own controller, in both modes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.deploy.inference_service import build_inference_service
from components.deploy.settings import DeploySettings
from serving.platform import PlatformError, RevisionFailed, ServiceStatus, TemporaryService
from serving.platform.cluster import path
from serving.platform.kserve import KServePlatform
from serving.platform.prediction import Sender
from tests.cluster.controllers import KServeItself
from tests.cluster.kserve_stand_in import ISVC
from tests.cluster.test_kserve_platform import (
    WAITS,
    Gateway,
    connected,
    live,
    promoted,
    service,
)

ROOT = Path(__file__).parents[2]
ALONE = "shop-1a2b3c"


@pytest.fixture(params=["Knative", "Standard"])
def controllers(request, cluster, namespace) -> Iterator[KServeItself]:
    with KServeItself(cluster, namespace, request.param, weighted=True) as running:
        yield running


@pytest.fixture
def standard(own_cluster, namespace) -> Iterator[KServeItself]:
    """Standard mode, for what does not depend on the mode."""
    with KServeItself(own_cluster, namespace, "Standard", weighted=True) as running:
        yield running


def trying(
    platform: KServePlatform,
    version: int | str,
    *,
    name: str = ALONE,
    transformer: str = "",
    timeout_s: float = 30.0,
) -> AbstractContextManager[ServiceStatus | None]:
    """The candidate as a temporary service, as the infrastructure check asks for it."""
    resources = service(version, minReplicas=1, maxReplicas=1), service(version)
    for resource in resources:
        resource["metadata"]["annotations"] = dict(platform.annotations)
        if transformer:
            settings = DeploySettings(transformer_image=f"registry.example/{transformer}:1")
            built = build_inference_service(
                service=name, namespace="", package_uri="gs://models/shop/1", settings=settings
            )
            resource["spec"]["transformer"] = built["spec"]["transformer"]
    resources[0]["metadata"]["name"] = name
    return platform.temporary_service(resources[0], instead_of=resources[1], timeout_s=timeout_s)


def services(controllers: KServeItself) -> list[str]:
    where = path(ISVC, "inferenceservices", controllers.namespace)
    return sorted(one["metadata"]["name"] for one in controllers.cluster.items(where))


def wait_until(satisfied, within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while not satisfied():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def make_pod(controllers: KServeItself, name: str) -> str:
    """Start a pod that stands for a pipeline's step, and return its uid."""
    container = {"name": "main", "image": "registry.example/shopflow:1"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
    where = path("v1", "pods", controllers.namespace)
    made = controllers.cluster.create(where, body | {"spec": {"containers": [container]}})
    return str(made["metadata"]["uid"])


def killed_in_the_middle(controllers: KServeItself, pod: str = "", uid: str = "") -> None:
    """Let a process of its own begin a temporary service of version 2, and kill it."""
    program = (
        "import os, signal\n"
        "from serving.platform.changes import Waits\n"
        "from serving.platform.cluster import connect_cluster\n"
        "from serving.platform.kserve import KServePlatform\n"
        "from tests.cluster.test_temporary_service import trying\n"
        f"platform = KServePlatform(connect_cluster(), namespace={controllers.namespace!r})\n"
        f"platform.annotations = {controllers.annotations!r}\n"
        "with trying(platform, 2):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "KUBECONFIG": str(controllers.kubeconfig), "PYTHONPATH": str(ROOT)}
    environment |= {"KFP_POD_NAME": pod, "KFP_POD_UID": uid} if pod else {}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert ALONE in services(controllers)


def test_candidate_is_ready_can_be_asked_and_is_gone_afterwards(controllers):
    platform = connected(controllers)
    stable = promoted(platform, 1)
    before = live(platform)
    with Gateway() as gateway:
        sending = connected(controllers, sender=Sender(gateway.url))
        with trying(sending, 2) as status:
            found = platform._changes.live(ALONE)
            assert found["metadata"]["labels"]["shopflow/temporary-of"] == "shop"
            assert found["spec"]["predictor"]["minReplicas"] == 1
            assert found["spec"]["predictor"]["maxReplicas"] == 1
            assert "canary" not in found["spec"]
            assert (status.service, status.stable, status.canary.ready) == (ALONE, None, True)
            assert status.canary.storage_uri == "gs://models/shop/2"
            body = {"instances": []}
            assert sending.predict(ALONE, body, revision=status.canary.name).status_code == 200
            pods = controllers.cluster.items(
                path("v1", "pods", controllers.namespace),
                labelSelector=f"serving.kserve.io/inferenceservice={ALONE}",
            )
            # By it the monitoring leaves them alone.
            assert {pod["metadata"]["labels"]["shopflow/temporary-of"] for pod in pods} == {"shop"}
            with pytest.raises(PlatformError, match="found a rollout of .* expected none"):
                platform.deploy(service(3))
    ((asked, host),) = gateway.asked
    assert asked == f"/v1/models/{ALONE}:predict"
    assert host.endswith((".svc", ".svc.cluster.local")) and ALONE in host
    assert services(controllers) == ["shop"]
    kind = "deployments" if controllers.mode == "Standard" else "replicasets"
    where = path("apps/v1", kind, controllers.namespace)
    wait_until(
        lambda: (
            not any(ALONE in one["metadata"]["name"] for one in controllers.cluster.items(where))
        )
    )
    after = live(platform)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert controllers.splits == [{stable: 100}]
    assert platform.deploy(service(3)).canary.ready  # the lease is free


def test_candidate_that_cannot_start_is_gone_and_the_service_is_untouched(controllers):
    platform = connected(controllers)
    promoted(platform, 1)
    before, record = live(platform), platform._records.read("shop")
    with pytest.raises(RevisionFailed, match=controllers.words):
        with trying(platform, controllers.broken):
            pass
    with pytest.raises(RevisionFailed, match="not ready in 2 s"):
        with trying(platform, "gs://models/slow-model/1", name="shop-4d5e6f", timeout_s=2.0):
            pass
    assert services(controllers) == ["shop"]
    assert live(platform)["spec"] == before["spec"]
    assert platform._records.read("shop") == record
    leases = path("coordination.k8s.io/v1", "leases", controllers.namespace)
    assert controllers.cluster.items(leases) == []


def test_candidate_that_is_stable_or_has_a_rival_or_a_name_too_long_is_not_started(standard):
    platform = connected(standard)
    promoted(platform, 1)
    with trying(platform, 1) as status:
        assert status is None
        assert services(standard) == ["shop"]
    long = service(2)
    long["metadata"] = {"name": "s" * 42, "annotations": dict(standard.annotations)}
    with pytest.raises(PlatformError, match="42 letters.*expected at most 41"):
        with platform.temporary_service(service(2), instead_of=long):
            pass
    platform.deploy(service(2))
    with pytest.raises(PlatformError, match="found a rollout of .* expected none"):
        with trying(connected(standard), 3):
            pass
    assert services(standard) == ["shop"]
    assert platform.status("shop").canary.storage_uri == "gs://models/shop/2"


def test_service_goes_with_the_pod_of_the_step_that_was_killed(standard):
    """The one that deletes it is Kubernetes' own garbage collector."""
    uid = make_pod(standard, "deploy-step")
    killed_in_the_middle(standard, "deploy-step", uid)
    platform = connected(standard)
    assert platform.clean_up("shop") == (TemporaryService(ALONE, ""),)  # the pod is there
    assert services(standard) == [ALONE]
    standard.cluster.delete(path("v1", "pods", standard.namespace, "deploy-step"))
    wait_until(lambda: services(standard) == [])


def test_service_of_a_pod_that_has_ended_is_swept_by_the_next_deployment(standard):
    uid = make_pod(standard, "deploy-step")
    killed_in_the_middle(standard, "deploy-step", uid)
    pod = path("v1", "pods", standard.namespace, "deploy-step")
    wait_until(lambda: standard.cluster.get(pod)["status"]["phase"] == "Running")
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deploy-step"}}
    standard.cluster.apply(f"{pod}/status", body | {"status": {"phase": "Failed"}}, force=True)
    with trying(connected(standard), 2, name="shop-4d5e6f") as status:
        assert status.canary.storage_uri == "gs://models/shop/2"
    assert services(standard) == []


def test_service_without_a_known_pod_is_in_use_until_it_expires(standard):
    killed_in_the_middle(standard, "elsewhere", "0123")  # a pod of another namespace
    assert "ownerReferences" not in connected(standard)._changes.live(ALONE)["metadata"]
    assert connected(standard).clean_up("shop") == (TemporaryService(ALONE, ""),)
    assert connected(standard).clean_up("sho") == ()
    later = datetime.now(UTC) + timedelta(hours=1)
    (swept,) = connected(standard, now=lambda: later).clean_up("shop")
    assert swept.name == ALONE and swept.left_over.startswith("it expired at 20")
    assert services(standard) == []


def test_service_that_cannot_be_deleted_is_named(own_cluster, standard):
    """KServe's finalizer holds it until its controller has seen the end."""
    platform = connected(standard)
    platform._changes._waits = replace(WAITS, change_s=0.5)
    controller = own_cluster.daemons["kserve-controller"]
    try:
        with pytest.raises(PlatformError) as failure:
            with trying(platform, 1):
                controller.pause()
        assert str(failure.value).startswith(f"temporary service {ALONE} is left behind: {ALONE}: ")
        assert "\n" not in str(failure.value)
    finally:
        controller.resume()
    wait_until(lambda: services(standard) == [])


def test_transformer_must_be_ready_too(own_cluster, namespace):
    with KServeItself(own_cluster, namespace, "Knative", weighted=True) as controllers:
        platform = connected(controllers)
        with trying(platform, 1, transformer="shopflow-transformer", timeout_s=60.0) as status:
            assert status.canary.ready
        why = "shop-4d5e6f: .*TransformerConfigurationReady is False .*Unable to fetch image"
        with pytest.raises(RevisionFailed, match=why):
            # No registry has repositories of one letter, as Knative knows.
            with trying(platform, 1, name="shop-4d5e6f", transformer="t", timeout_s=60.0):
                pass
        assert services(controllers) == []
