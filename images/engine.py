"""Which container engine there is."""

import shutil
import subprocess
import sys


def find_engine() -> str:
    """Return "docker" where its engine answers, else "podman"; exits with one line without both."""
    if shutil.which("docker") and answers("docker", "info"):
        return "docker"
    if shutil.which("podman"):
        return "podman"
    sys.exit("images: found neither a Docker engine nor Podman, expected one of them")


def answers(*command: str) -> bool:
    """Return whether a command succeeds; what it prints is not shown."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
