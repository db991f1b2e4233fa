"""The whole life of a pipeline on a server: ours, or the user's own (README.md beside this file).

What the other tests read in our server's stores, this one asks by KFP's API: it holds for both.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pipelines.client import runs, schedules
from pipelines.client.connection import Access, connect, named

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "recommender.yaml"
NEEDED = ["-p", "events_uri=e", "-p", "catalogue_uri=c", "-p", "store_uri=s"]


@pytest.fixture
def access(server):
    """Our server, or the one SHOPFLOW_TEST_KFP_ENDPOINT names; secrets are taken as ever."""
    host = os.environ.get("SHOPFLOW_TEST_KFP_ENDPOINT")
    namespace = os.environ.get("SHOPFLOW_TEST_KFP_NAMESPACE", "")
    return Access(host, namespace=namespace) if host else Access(server.host)


@pytest.fixture
def name(access):
    """A name of the test's own; all that has it is taken away in the end, but for runs."""
    own = f"shopflow-test-{uuid.uuid4().hex[:8]}"
    yield own
    kubeflow = connect(access)
    for one in schedules.find(kubeflow, own):
        schedules.delete(kubeflow, one)
    services = kubeflow.client.pipelines
    for one in kubeflow.listed(
        services.pipeline_service_list_pipelines,
        "pipelines",
        namespace=kubeflow.namespace,
        filter=named(own),
    ):
        for version in _versions(kubeflow, one.pipeline_id):
            kubeflow.call(
                services.pipeline_service_delete_pipeline_version,
                pipeline_id=one.pipeline_id,
                pipeline_version_id=version.pipeline_version_id,
            )
        kubeflow.call(services.pipeline_service_delete_pipeline, pipeline_id=one.pipeline_id)
    kubeflow.call(
        kubeflow.client.experiments.experiment_service_delete_experiment,
        experiment_id=runs.experiment_id(kubeflow, own),
    )


def _versions(kubeflow, pipeline_id):
    service = kubeflow.client.pipelines.pipeline_service_list_pipeline_versions
    return list(kubeflow.listed(service, "pipeline_versions", pipeline_id=pipeline_id))


def test_a_pipeline_is_uploaded_run_and_scheduled_and_what_is_the_same_stays(access, name):
    kubeflow = connect(access)

    def client(*words: str) -> str:
        options = ["--host", access.host, "--namespace", access.namespace]
        command = [sys.executable, "-m", "pipelines", *words, *options]
        return subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def apply(*words: str) -> str:
        file, names = str(GOLDEN), ["--name", name, "--pipeline-name", name]
        return client("schedule", "apply", file, *NEEDED, *names, *words)

    assert "uploaded" in client("upload", str(GOLDEN), "--pipeline-name", name)
    started = client("run", str(GOLDEN), *NEEDED, "-p", "seed=3", "--pipeline-name", name)
    assert "already there" in started
    run_id = started.split("run ")[1].split()[0]
    run = kubeflow.call(kubeflow.client.runs.run_service_get_run, run_id=run_id)
    assert run.runtime_config.parameters["seed"] == 3
    assert run_id in {one.run_id for one in runs.listed(kubeflow, limit=20)}
    reference = run.pipeline_version_reference
    (version,) = _versions(kubeflow, reference.pipeline_id)
    assert version.pipeline_version_id == reference.pipeline_version_id

    assert "created, running" in apply("--cron", "0 3 * * *")
    assert "unchanged, running" in apply("--cron", "0 3 * * *")
    client("schedule", "stop", name)
    # In another experiment, too, it is the same schedule.
    elsewhere = ["--every", "12h", "-p", "seed=4", "--experiment", name]
    assert "replaced, stopped" in apply(*elsewhere)
    assert "unchanged, stopped" in apply(*elsewhere)
    (recurring,) = schedules.find(kubeflow, name)
    assert recurring.runtime_config.parameters["seed"] == 4
    assert recurring.trigger.periodic_schedule.interval_second == "43200"
    client("schedule", "start", name)
    (recurring,) = schedules.find(kubeflow, name)
    assert schedules.is_running(recurring)
    client("schedule", "delete", name)
    assert schedules.find(kubeflow, name) == []
