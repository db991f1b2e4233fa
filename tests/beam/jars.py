"""Flink and Beam's job server, brought by Maven into a cache outside the repository."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
_POM, _SUMS = HERE / "pom.xml", HERE / "jars.sha256"


class NoJars(RuntimeError):
    """Flink cannot be had here: no Java, no Maven, or Maven could not bring it."""


def cache_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the JARs that are pinned, there or not."""
    root = environment.get("XDG_CACHE_HOME") or str(Path(environment["HOME"]) / ".cache")
    pinned = hashlib.sha256(_POM.read_bytes() + _SUMS.read_bytes()).hexdigest()
    return Path(root) / "shopflow" / "beam" / pinned[:16]


def fetch() -> Path:
    """Return the folder with every JAR, fetched first if it is missing.

    Raises:
        NoJars: If a program is missing, or Maven fails; says which.
        RuntimeError: If a JAR is not the one that is pinned.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoJars(f"{program}: found none on the PATH, expected it to run Flink")
    target = cache_dir()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch_into(target)
    return target


def check(folder: Path, sums: Path = _SUMS) -> None:
    """Compare a folder's files with the pinned checksums.

    Raises:
        RuntimeError: Names the files that differ, are missing or are not pinned.
    """
    pinned = {name: digest for digest, name in map(str.split, sums.read_text().splitlines())}
    found = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}
    if wrong := sorted(name for name, _ in pinned.items() ^ found.items()):
        names = ", ".join(dict.fromkeys(wrong))
        raise RuntimeError(f"{folder}: not as pinned in {sums.name}: {names}")


def _fetch_into(target: Path) -> None:
    unfinished = target.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        line = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no message")
        raise NoJars(f"mvn: exit code {done.returncode}, expected the JARs of {_POM.name}: {line}")
    check(unfinished)
    unfinished.rename(target)


if __name__ == "__main__":
    print(fetch())
