"""Compiled pipelines: what the KFP backend gets, and what a wrong command line is told."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.cluster_settings import STEPS

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
IMAGE_OPTIONS = ("--registry", "registry.example/shopflow", "--tag", "0.1.0")


def compile_(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "compile.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Pipeline spec and platform spec of the recommender, compiled for two GPUs."""
    out = tmp_path_factory.mktemp("compiled")
    done = compile_("--pipeline", "recommender", "--out", str(out), *IMAGE_OPTIONS, "--gpus", "2")
    assert done.returncode == 0, done.stderr
    return next(yaml.safe_load_all((out / "recommender.yaml").read_text(encoding="utf-8")))


def executors(spec):
    return {
        name.removeprefix("exec-"): executor["container"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }


def tasks(spec):
    dags = [spec["root"]["dag"]] + [c["dag"] for c in spec["components"].values() if "dag" in c]
    return {
        (number, name): task
        for number, dag in enumerate(dags)
        for name, task in dag["tasks"].items()
        if not name.startswith(("condition", "for-loop", "exit-handler"))
    }


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_compiling_gives_the_reviewed_file_byte_for_byte(golden, tmp_path):
    done = compile_("--pipeline", golden.stem, "--out", str(tmp_path), *IMAGE_OPTIONS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / golden.name).read_bytes() == golden.read_bytes(), (
        "review, then `make golden`"
    )


def test_every_pipeline_has_a_golden_file():
    listed = compile_("--list").stdout.split()
    assert listed == sorted(path.stem for path in GOLDEN.glob("*.yaml"))


def test_nothing_is_installed_at_run_time(compiled):
    for name, container in executors(compiled).items():
        assert "pip install" not in " ".join(container["command"] + container["args"]), name


def test_every_image_is_ours_and_pinned(compiled):
    images = {container["image"] for container in executors(compiled).values()}
    assert images == {
        "registry.example/shopflow/shopflow-pipeline:0.1.0",
        "registry.example/shopflow/shopflow-train-gpu:0.1.0",
    }


def test_only_training_gets_the_gpus(compiled):
    with_gpus = {
        name: container["resources"]["accelerator"]
        for name, container in executors(compiled).items()
        if "accelerator" in container["resources"]
    }
    assert set(with_gpus) == {"train", "train-2", "train-3", "trials"}
    for accelerator in with_gpus.values():
        assert accelerator["resourceType"] == "nvidia.com/gpu"
        assert accelerator["resourceCount"] == "2"


def test_every_step_asks_for_cpu_and_memory(compiled):
    for name, container in executors(compiled).items():
        assert {"resourceCpuRequest", "resourceMemoryLimit"} <= set(container["resources"]), name


def test_only_steps_that_depend_on_their_inputs_alone_are_cached(compiled):
    cached = {
        name.rstrip("-0123456789")
        for (_, name), task in tasks(compiled).items()
        if task.get("cachingOptions", {}).get("enableCache")
    }
    assert cached == {"preprocess", "train", "compress"}


def test_an_answer_is_never_asked_for_again(compiled):
    for (_, name), task in tasks(compiled).items():
        assert ("retryPolicy" in task) != name.startswith(
            ("shadow", "rollout", "refuse", "release", "search", "publish-smaller", "notify")
        ), name


CLUSTER_OPTIONS = (
    "--node-selector", "pool=batch", "--train-node-selector", "gpu=a100",
    "--toleration", "dedicated=ml:NoSchedule", "--train-toleration", "nvidia.com/gpu",
    "--signing-key-secret", "signing", "--public-key-secret", "trusted",
    "--notify-url-secret", "chat", "--gcs-key-secret", "gcs-key",
    "--image-pull-secret", "registry", "--no-cache",
    "--step-timeout", "train=7200", "--run-timeout", "86400", "--ttl", "3600",
    "--workspace-size", "20Gi", "--workspace-class", "fast",
)  # fmt: skip


@pytest.fixture(scope="module")
def on_a_cluster(tmp_path_factory):
    """Pipeline spec and Kubernetes' part of it, with every option of a cluster given."""
    out = tmp_path_factory.mktemp("cluster")
    done = compile_("--all", *IMAGE_OPTIONS, "--out", str(out), *CLUSTER_OPTIONS)
    assert done.returncode == 0, done.stderr
    spec, platform = yaml.safe_load_all((out / "recommender.yaml").read_text(encoding="utf-8"))
    return spec, platform["platforms"]["kubernetes"]


def test_every_pod_gets_its_nodes_and_secrets_and_training_further_ones(on_a_cluster):
    spec, kubernetes = on_a_cluster
    pods = kubernetes["deploymentSpec"]["executors"]
    assert set(pods) == set(spec["deploymentSpec"]["executors"])
    training = {"exec-train", "exec-train-2", "exec-train-3", "exec-trials"}
    for name, pod in pods.items():
        trains = name in training
        labels = {"pool": "batch"} | ({"gpu": "a100"} if trains else {})
        assert pod["nodeSelector"]["labels"] == labels
        assert pod["tolerations"][0] == {
            "key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"
        }  # fmt: skip
        further = [{"key": "nvidia.com/gpu", "operator": "Exists"}] if trains else []
        assert pod["tolerations"][1:] == further
        limited = name.startswith("exec-train")
        assert pod.get("activeDeadlineSeconds") == ("7200" if limited else None)
        assert pod["imagePullSecret"][0]["secretName"] == "registry"
        (secret,) = pod["secretAsVolume"]
        assert secret["secretName"] == "gcs-key" and not secret["optional"]
        container = spec["deploymentSpec"]["executors"][name]["container"]
        key = {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{secret['mountPath']}/key.json"}
        assert key in container["env"]


def test_every_step_can_be_given_a_timeout(compiled):
    steps = {re.sub(r"(-\d+)+$", "", name) for name in executors(compiled)}
    assert steps - {"refuse", "keep", "plan-trials", "check"} == set(STEPS)  # those take no time


def test_a_secret_is_given_to_the_steps_that_need_it_alone_and_by_reference(on_a_cluster):
    _, kubernetes = on_a_cluster
    given = {
        (name.rstrip("-0123456789"), secret["secretName"], pair["secretKey"], pair["envVar"])
        for name, pod in kubernetes["deploymentSpec"]["executors"].items()
        for secret in pod.get("secretAsEnv", ())
        for pair in secret["keyToEnv"]
    }
    assert given == {
        ("exec-package", "signing", "private.pem", "SHOPFLOW_SIGNING_KEY"),
        ("exec-train", "trusted", "public.pem", "SHOPFLOW_PUBLIC_KEY"),
        ("exec-evaluate", "trusted", "public.pem", "SHOPFLOW_PUBLIC_KEY"),
        ("exec-deploy", "trusted", "public.pem", "SHOPFLOW_PUBLIC_KEY"),
        ("exec-notify", "chat", "url", "SHOPFLOW_NOTIFY_URL"),
    }


def test_every_step_is_inside_the_exit_handler_and_its_report_is_small(compiled):
    assert set(compiled["root"]["dag"]["tasks"]) == {"exit-handler-1", "notify"}
    asked = executors(compiled)["notify"]["resources"]
    assert (asked["resourceCpuRequest"], asked["resourceMemoryLimit"]) == ("100m", "512M")
    assert executors(compiled)["notify"]["image"].endswith("/shopflow-pipeline:0.1.0")


def test_a_run_has_its_limits_and_a_volume_for_checkpoints(on_a_cluster):
    spec, kubernetes = on_a_cluster
    config = kubernetes["pipelineConfig"]
    assert (config["activeDeadlineSeconds"], config["resourceTtlOnCompletion"]) == (86400, 3600)
    assert config["workspace"]["size"] == "20Gi"
    assert config["workspace"]["kubernetes"]["pvcSpecPatch"]["storageClassName"] == "fast"
    roots = {
        task["inputs"]["parameters"]["checkpoint_root"]["runtimeValue"]["constant"]
        for (_, name), task in tasks(spec).items()
        if name.startswith("train")
    }
    assert roots == {"{{$.workspace_path}}/checkpoints"}
    assert not any(
        task.get("cachingOptions", {}).get("enableCache") for task in tasks(spec).values()
    )


def test_manifests_for_a_gitops_repository_hold_the_same_pipeline(tmp_path):
    options = ("--all", *IMAGE_OPTIONS, "--out", str(tmp_path))
    assert compile_(*options, "--manifest-namespace", "shop").returncode == 0
    manifests = yaml.safe_load_all((tmp_path / "recommender.yaml").read_text(encoding="utf-8"))
    pipeline, version = manifests
    assert pipeline["kind"] == "Pipeline" and version["kind"] == "PipelineVersion"
    assert pipeline["metadata"] == {"name": "recommender", "namespace": "shop"}
    assert version["spec"]["pipelineName"] == "recommender"
    golden = (GOLDEN / "recommender.yaml").read_bytes()
    assert version["spec"]["pipelineSpec"] == next(yaml.safe_load_all(golden))
    # Another content, such as one with a time limit, is another version: none may be changed.
    name = f"recommender-{hashlib.sha256(golden).hexdigest()[:12]}"
    assert version["metadata"] == {"name": name, "namespace": "shop"}


def test_a_digest_is_joined_with_an_at_sign(tmp_path):
    digest = "sha256:" + "0" * 64
    options = ("--registry", "registry.example/shopflow", "--tag", digest, "--out", str(tmp_path))
    assert compile_("--all", *options).returncode == 0
    assert f"shopflow-pipeline@{digest}" in (tmp_path / "recommender.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "no pipeline"),
        (("--pipeline", "recomender", *IMAGE_OPTIONS), "did you mean recommender?"),
        (("--all", "--registry", "registry.example", "--tag", "latest"), "an immutable tag"),
        (("--all", "--registry", "https://registry.example", "--tag", "1"), "no https://"),
        (("--all", "--tag", "1"), "--registry: found ''"),
        (("--all", *IMAGE_OPTIONS, "--gpus", "-1"), "a number ≥ 0"),
        (
            ("--all", *IMAGE_OPTIONS, "--gpus", "1", "--accelerator", "gpu"),
            "such as nvidia.com/gpu",
        ),
        (
            ("--all", *IMAGE_OPTIONS, "--accelerator", "amd.com/gpu"),
            "--accelerator: found no --gpus",
        ),
        (("--all", *IMAGE_OPTIONS, "--node-selector", "pool"), "a label as key=value"),
        (("--all", *IMAGE_OPTIONS, "--toleration", "a=b:Never"), "NoSchedule, PreferNoSchedule"),
        (("--all", *IMAGE_OPTIONS, "--gcs-key-secret", "My_Key"), "a Secret's name"),
        (("--all", *IMAGE_OPTIONS, "--notify-url-secret", "https://x.y/z"), "a Secret's name"),
        (("--all", *IMAGE_OPTIONS, "--step-timeout", "trian=60"), "ingest, preprocess, trials"),
        (("--all", *IMAGE_OPTIONS, "--step-timeout", "train=0"), "step=seconds"),
        (("--all", *IMAGE_OPTIONS, "--run-timeout", "0"), "a number > 0"),
        (("--all", *IMAGE_OPTIONS, "--workspace-size", "20"), "a size such as 20Gi"),
        (("--all", *IMAGE_OPTIONS, "--workspace-class", "fast"), "no --workspace-size"),
        (("--all", *IMAGE_OPTIONS, "--manifest-namespace", "A b"), "a Kubernetes namespace"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_leaves_nothing(options, told, tmp_path):
    done = compile_(*options, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_is_told_in_one_line(tmp_path):
    (tmp_path / "out").touch()
    done = compile_("--all", *IMAGE_OPTIONS, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert re.fullmatch("error: --out: found .*File exists.*, expected a folder .*\n", done.stderr)
