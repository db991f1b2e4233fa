"""Each image alone: who it runs as, what it holds and what it must not, and how soon it serves."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.images.conftest import HARDENED, SERVICE, image

ROOT = Path(__file__).parents[2]
# Nothing needs a GPU's libraries to be tested here, and they are 3 GB; SHOPFLOW_GPU_IMAGE=1 does.
IMAGES = ["predictor", "pipeline", "transformer"] + (
    ["train-gpu"] if os.environ.get("SHOPFLOW_GPU_IMAGE") else []
)
# Debian's own pip, where the base has one, sees nothing of the packages in /opt/venv.
COMPILERS = "gcc g++ cc clang make cargo rustc go uv"
STEPS = ["components", "pipelines", "serving"]


@pytest.mark.parametrize("name", IMAGES)
def test_it_is_nobody_special_and_says_what_it_is(engine, name):
    found = engine.inspect(image(name))
    assert found["Config"]["User"] == "1000:1000"
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"shopflow-{name}"
    assert labels["org.opencontainers.image.version"] == os.environ.get("TAG", "dev")
    assert len(labels["org.opencontainers.image.revision"]) == 40
    print(f"{name}: {found['Size'] / 1e6:,.0f} MB")


@pytest.mark.parametrize("name", IMAGES)
def test_it_holds_the_packages_and_its_own_source_and_nothing_to_build_with(engine, name):
    script = (
        f"for p in {COMPILERS}; do command -v $p; done; "
        "find /opt /app /tmp /root /home -name '*.whl' -o -name .cache -o -name .git; "
        "ls /tmp; ls /opt; ls /app"
    )
    path = ("--env", "PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin")
    shown = engine.shell(image(name), script, "--network", "none", *path)
    source = ["serving"] if name in ("predictor", "transformer") else STEPS
    assert shown.split() == ["venv", *source]


@pytest.mark.parametrize("name", IMAGES[:3])
def test_its_bill_of_materials_lists_the_lock_file_and_the_system(engine, name, tmp_path):
    made = subprocess.run(
        [sys.executable, ROOT / "images" / "bill_of_materials.py", image(name), "--out", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    document = json.loads((tmp_path / f"shopflow-{name}.cdx.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    held = {component["name"].lower() for component in document["components"]}
    assert {"kserve", "numpy", "libc6"} <= held
    assert ("tensorflow" in held) == (name != "transformer")
    assert ("kfp" in held) == (name == "pipeline")
    licences = (tmp_path / f"shopflow-{name}.licences.tsv").read_text().splitlines()
    assert len(licences) == len(document["components"])


def test_predictor_serves_the_package_from_a_read_only_disk(engine, release):
    options = ("--network", "none", *HARDENED, "--volume", f"{release.package}:/mnt/models:ro")
    command = ("--model_name", SERVICE, "--http_port", "8080")
    with engine.running(*options, image("predictor"), *command) as name:
        print(f"predictor: healthy after {_seconds_until_healthy(engine, name):.1f} s")


def test_transformer_starts_on_a_read_only_disk(engine):
    command = ("--model_name", SERVICE, "--predictor_host", "127.0.0.1:1", "--http_port", "8080")
    with engine.running("--network", "none", *HARDENED, image("transformer"), *command) as name:
        print(f"transformer: healthy after {_seconds_until_healthy(engine, name):.1f} s")


def _seconds_until_healthy(engine, name: str) -> float:
    began = time.monotonic()
    while not engine.healthy(name):
        assert time.monotonic() < began + 300, engine("logs", name)
        time.sleep(0.2)
    return time.monotonic() - began
