"""The cluster's programs, built from the Go module proxy into a cache outside the repository."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ("go.mod", "go.sum", "knative/main.go")
# The last element of a main package's path says little for some of them.
_CLEAR_NAMES = {"server": "etcd", "manager": "kserve-controller"}


class NoGoToolchain(RuntimeError):
    """Nothing can be built: there is no `go` on the PATH."""


def cache_dir(environment: Mapping[str, str] = os.environ, *, sources: Path = HERE) -> Path:
    """Return the folder of the programs the sources describe, built or not.

    Args:
        environment: Where the user's cache is, by XDG_CACHE_HOME or HOME.
        sources: The folder with go.mod.
    """
    root = environment.get("XDG_CACHE_HOME") or str(Path(environment["HOME"]) / ".cache")
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((sources / name).read_bytes())
    return Path(root) / "shopflow" / "cluster" / digest.hexdigest()[:16]


def build() -> Path:
    """Return the folder with every program, building it first if it is missing.

    Go keeps what it compiled in its own cache, so an interrupted build goes on where it stopped.

    Raises:
        NoGoToolchain: If there is no `go`.
        subprocess.CalledProcessError: If the build fails; Go's own message is on stderr.
    """
    if shutil.which("go") is None:
        raise NoGoToolchain("go: found none on the PATH, expected Go 1.26 to build the cluster")
    target = cache_dir()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build_into(target)
    return target


def module_dirs(*modules: str) -> dict[str, Path]:
    """Return where the module cache holds these modules, as go.mod pins them."""
    listed = _go("mod", "download", "-json", *modules)
    decoder, found, at = json.JSONDecoder(), {}, 0
    while at < len(listed.rstrip()):
        entry, end = decoder.raw_decode(listed, at)
        found[entry["Path"]] = Path(entry["Dir"])
        at = end + 1
    return found


def _build_into(target: Path) -> None:
    unfinished = target.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    version = _go("list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").strip()
    # -s -w: no debug information, a third of the size. -X: what a release build of Kubernetes says
    # it is; others read its version and take none for an answer.
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={version}"
    _go(
        "build", "-trimpath", "-buildvcs=false", f"-ldflags={flags}", "-o", f"{unfinished}/", "tool"
    )
    for name, clear in _CLEAR_NAMES.items():
        (unfinished / name).rename(unfinished / clear)
    unfinished.rename(target)


def _go(*arguments: str) -> str:
    # Without C the programs run on any Linux, and no compiler is needed.
    environment = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run(
        ["go", *arguments], cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    print(build())
