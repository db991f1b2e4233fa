import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.errors import InputError
from components.train.devices import Devices, read_cluster
from components.train.fit import train
from components.train.settings import DeviceSettings, TrainSettings
from tests.ports import free_port

HERE = Path(__file__).parent
# What a TFJob of two workers gives its second.
TF_CONFIG = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'


@pytest.fixture(scope="module")
def curves() -> dict[str, dict[str, list[float]]]:
    """Losses by step on one device and on two, in a process that has two."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    shown = subprocess.run(
        [sys.executable, str(HERE / "two_devices.py")],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, dict[str, list[float]]] = json.loads(shown.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", ["two_tower", "matrix_factorization", "sasrec"])
def test_two_devices_have_the_loss_curve_of_one(
    name: str, curves: dict[str, dict[str, list[float]]]
) -> None:
    one, two = curves[name]["one"], curves[name]["mirrored"]
    assert len(one) > 8
    # The batches and the random numbers are the same, so only rounding is left.
    np.testing.assert_allclose(two, one, rtol=2e-5)
    assert abs(one[-1] - one[0]) > 0.01


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_the_bits_have_nearly_the_same_curve(
    precision: str, curves: dict[str, dict[str, list[float]]]
) -> None:
    one, mixed = curves["sasrec"]["one"], curves["sasrec"][precision]
    np.testing.assert_allclose(mixed, one, rtol=5e-3)
    # Else nothing was computed in less.
    assert not np.allclose(mixed, one, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"strategy": "many"}, "'many', expected one of auto, one, mirrored, multi_worker"),
        ({"precision": "float8"}, "'float8', expected one of float32, mixed_bfloat16"),
        ({"strategy": "mirrored"}, "'mirrored' with 1 device, expected at least two"),
        ({"strategy": "multi_worker"}, "expected TF_CONFIG with several workers"),
    ],
)
def test_what_is_not_there_is_refused(settings: dict[str, str], expected: str) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        Devices(DeviceSettings(**settings), environment={})


@pytest.mark.parametrize("name", ["linear_autoencoder", "slist", "ranker"])
def test_a_model_of_one_device_is_refused_more_before_anything_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Path("nowhere")
    inputs = dict.fromkeys(
        ["events_dir", "catalogue_dir", "schema_path", "transform_graph_dir", "model_dir",
         "report_path", "log_dir"], nowhere,
    )  # fmt: skip
    mirrored = TrainSettings(model=name, devices=DeviceSettings(strategy="mirrored"))
    with pytest.raises(InputError, match="'mirrored', expected one or auto, for a model that"):
        train(**inputs, checkpoint_root="", settings=mirrored)
    monkeypatch.setenv("TF_CONFIG", TF_CONFIG)
    with pytest.raises(InputError, match="2 workers, expected one, for a model that"):
        train(**inputs, checkpoint_root="", settings=TrainSettings(model=name))


def test_one_device_is_refused_to_several_workers() -> None:
    with pytest.raises(InputError, match="'one', expected multi_worker with 2 workers"):
        Devices(DeviceSettings(strategy="one"), environment={"TF_CONFIG": TF_CONFIG})


def test_the_chief_is_the_worker_that_is_named_so_or_the_first() -> None:
    cluster = {"worker": ["a:1", "b:1"]}
    assert read_cluster("") == (1, True)
    assert read_cluster(TF_CONFIG) == (2, False)
    first = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    assert read_cluster(json.dumps(first)) == (2, True)
    first["cluster"] = {**cluster, "chief": ["c:1"]}
    assert read_cluster(json.dumps(first)) == (3, False)


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        '{"cluster": {"worker": ["a:1"]}}',
        TF_CONFIG.replace('"index": 1', '"index": 2'),
        TF_CONFIG.replace('"type": "worker"', '"type": "chief"'),
        TF_CONFIG.replace('{"worker"', '{"ps": ["c:1"], "worker"'),
    ],
)
def test_a_cluster_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="TF_CONFIG: found .* expected a cluster"):
        read_cluster(text)


def wait_for(condition: Callable[[], bool], workers: list["subprocess.Popen[str]"]) -> None:
    while not condition():
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.02)


def test_two_workers_of_which_one_is_killed_end_as_one_device_does(
    shop_artifacts: Any, start_training: Callable[..., Any], tmp_path: Path
) -> None:
    checkpoints = tmp_path / "checkpoints"

    def start() -> list["subprocess.Popen[str]"]:
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        return [
            start_training(
                shop_artifacts,
                tmp_path / f"worker-{index}",
                checkpoints,
                environment={
                    "TF_CONFIG": json.dumps(
                        {
                            "cluster": {"worker": addresses},
                            "task": {"type": "worker", "index": index},
                        }
                    )
                },
            )
            for index in range(2)
        ]

    chief, other = workers = start()
    wait_for(lambda: bool(list(checkpoints.glob("*/progress.npz"))), workers)
    other.kill()
    # The chief cannot go on alone; as a TFJob's pod it is then started again.
    _, log = chief.communicate(timeout=400)
    assert other.wait() == -signal.SIGKILL
    assert chief.returncode != 0, log

    chief, other = start()
    _, log = chief.communicate(timeout=400)
    _, other_log = other.communicate(timeout=400)
    assert (chief.returncode, other.returncode) == (0, 0), log + other_log
    assert "going on after epoch" in log
    assert "going on after epoch" in other_log
    assert not list(checkpoints.glob("*"))
    assert (tmp_path / "worker-0" / "model" / "saved_model.pb").is_file()
    assert not (tmp_path / "worker-1").exists()
    shutil.rmtree(checkpoints, ignore_errors=True)

    whole = train(
        **shop_artifacts.inputs,
        **shop_artifacts.outputs(tmp_path / "whole"),
        checkpoint_root="",
        settings=TrainSettings(
            hyperparameters='{"epochs": 4, "patience": 4, "batch_baskets": 128}'
        ),
    )
    losses = [float(loss) for loss in re.findall(r"epoch \d, loss ([\d.]+)", log)]
    np.testing.assert_allclose(losses, [epoch.loss for epoch in whole.curve], rtol=1e-3)
    kept = re.search(r"NDCG@10 ([\d.]+) on eval", log)
    assert kept is not None
    assert float(kept[1]) == pytest.approx(whole.ndcg, abs=2e-3)


def test_the_runtimes_command_makes_a_cluster_of_what_kubeflow_trainer_says(
    tmp_path: Path,
) -> None:
    manifests = HERE.parents[1] / "components" / "train" / "manifests"
    runtime = yaml.safe_load((manifests / "trainer" / "runtime.yaml").read_text())
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$TF_CONFIG"\necho "$@"\n')
    python.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PET_NNODES": "3",
        "PET_NODE_RANK": "1",
        "PET_MASTER_ADDR": "job-node-0-0.job",
    }
    command = [*container["command"], "--seed", "2"]
    shown = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    config, arguments = shown.stdout.splitlines()
    assert json.loads(config)["cluster"]["worker"] == [
        "job-node-0-0.job:2222", "job-node-0-1.job:2222", "job-node-0-2.job:2222",
    ]  # fmt: skip
    assert read_cluster(config) == (3, False)
    assert read_cluster(config.replace('"index":1', '"index":0')) == (3, True)
    assert arguments == "-m components.train --seed 2"
