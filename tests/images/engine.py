"""Docker, or Podman in its place: from the command line, and by Docker's API."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Engine:
    """A container engine.

    Attributes:
        program: "docker" or "podman".
        docker_host: Address of its Docker API, None for the default one.
    """

    def __init__(self, program: str, docker_host: str | None) -> None:
        self.program, self.docker_host = program, docker_host

    def __call__(self, *words: str, check: bool = True) -> str:
        """Run a command of the engine and return what it printed on standard output."""
        done = subprocess.run([self.program, *words], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{self.program} {words}: {done.stderr}"
        return done.stdout.strip()

    def shell(self, image: str, script: str, *options: str) -> str:
        """Run a shell script in a new container and return what it printed."""
        return self("run", "--rm", *options, "--entrypoint", "/bin/sh", image, "-c", script)

    def inspect(self, name: str) -> dict:
        """Return what the engine knows of an image or a container."""
        return json.loads(self("inspect", name))[0]

    @contextmanager
    def running(self, *words: str) -> Iterator[str]:
        """Run a container in the background; it is removed when the block ends."""
        name = self("run", "--detach", *words)
        try:
            yield name
        finally:
            self("rm", "--force", "--time", "20", name)

    def healthy(self, name: str) -> bool:
        """Run the health check of a container's image; return whether it passes."""
        state = self.inspect(name)["State"]
        assert state["Running"], self("logs", name)
        check = self.inspect(name)["Config"]["Healthcheck"]["Test"][1:]
        done = subprocess.run(
            [self.program, "exec", name, *check], capture_output=True, check=False
        )
        return done.returncode == 0


@contextmanager
def container_engine(folder: Path) -> Iterator[Engine | None]:
    """Find an engine that runs containers; for Podman, serve Docker's API from a socket."""
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
    ):
        yield Engine("docker", os.environ.get("DOCKER_HOST"))
        return
    if not shutil.which("podman"):
        yield None
        return
    socket = folder / "podman.sock"
    service = subprocess.Popen(["podman", "system", "service", "--time", "0", f"unix://{socket}"])
    try:
        deadline = time.monotonic() + 60
        while not socket.exists():
            assert service.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield Engine("podman", f"unix://{socket}")
    finally:
        service.terminate()
        service.wait()
