"""Where the cluster's programs come from."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.binaries import HERE, SOURCES, cache_dir, module_dirs

ROOT = Path(__file__).parents[2]


def test_the_cache_lies_outside_the_repository_and_follows_what_is_pinned(tmp_path):
    first = cache_dir({"XDG_CACHE_HOME": "/somewhere"})
    assert first.parent == Path("/somewhere/shopflow/cluster")
    home = {"HOME": "/home/me"}
    assert cache_dir(home).parent == Path("/home/me/.cache/shopflow/cluster")
    for name in SOURCES:
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((HERE / name).read_bytes())
    assert cache_dir(home, sources=tmp_path).name == first.name
    (tmp_path / "go.sum").write_text("another version\n")
    assert cache_dir(home, sources=tmp_path).name != first.name


def test_without_go_the_tests_are_skipped_and_say_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "tests/cluster/test_api_server.py"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "4 skipped" in done.stdout
    assert "go: found none on the PATH" in done.stdout


def test_an_api_server_says_the_version_that_is_pinned(binaries):
    said = subprocess.run(
        [binaries / "kube-apiserver", "--version"], capture_output=True, text=True, check=True
    )
    go_mod = (HERE / "go.mod").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^\s*k8s.io/kubernetes (v\S+)", go_mod, re.MULTILINE)
    assert said.stdout.strip() == f"Kubernetes {pinned}"


@pytest.mark.parametrize("module", ["github.com/kserve/kserve", "sigs.k8s.io/gateway-api"])
def test_modules_are_found_where_go_keeps_them(binaries, module):
    assert list((module_dirs(module)[module] / "config" / "crd").rglob("*.yaml"))
