"""One revision's server process: started, watched, started again, stopped."""

import asyncio
import ctypes
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

import serving
from serving.platform.inference_service import ServerTemplate
from serving.platform.interface import PlatformError
from serving.platform.storage import materialise

_PR_SET_PDEATHSIG = 1
_EX_CONFIG = 78  # sysexits.h: the configuration is wrong, so starting again cannot help
_START_ATTEMPTS = 3
_START_TIMEOUT_S = 180.0
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STABLE_AFTER_S = 60.0
_PROBE_EVERY_S = 5.0
_PROBE_FAILURES = 3
_GRACE_S = 10.0


class ServerProcess:
    """Keeps one revision's server running until it is stopped.

    Attributes:
        name: The revision.
        template: What the process is made of.
        url: Base URL of the running process, None while there is none.
        ready: Whether the server says it is ready.
        failed: Whether it has been given up.
        reason: Why it is not ready.
        pid: The running process.
    """

    def __init__(self, name: str, template: ServerTemplate, *, service: str, folder: Path) -> None:
        """Remember what to run; `run` runs it.

        Args:
            name: The revision.
            template: What the process is made of.
            service: Name of the service, which is the model's name in the protocol.
            folder: Where the log and a downloaded package go.
        """
        self.name, self.template = name, template
        self.url: str | None = None
        self.ready, self.failed, self.reason = False, False, "starting"
        self._service, self._folder = service, folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The running process, None while there is none."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    @property
    def log(self) -> Path:
        """File the server writes its output to."""
        return self._folder / f"{self.name}.log"

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Start the server again whenever it ends, later each time; give up if it never starts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        attempt, ever_ready = 0, False
        while not self.failed:
            try:
                package = await self._package()
            except PlatformError as error:
                self.failed, self.reason = True, str(error)
                return
            started = time.monotonic()
            code = await self._run_once(package, session)
            ever_ready = ever_ready or self.ready
            lived_long = self.ready and time.monotonic() - started > _STABLE_AFTER_S
            attempt = 0 if lived_long else attempt + 1
            self.ready, self.url = False, None
            self.reason = f"server ended with code {code}: {_last_line(self.log)}"
            if code == _EX_CONFIG or (not ever_ready and attempt >= _START_ATTEMPTS):
                self.failed = True
                return
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S)) - 1])

    def given_up(self, run: "asyncio.Task[None]") -> None:
        """Take over why `run` ended, if by an error it does not know of, such as a full disk's."""
        if not run.cancelled() and (error := run.exception()):
            self.failed, self.reason = True, " ".join(f"{type(error).__name__}: {error}".split())

    async def stop(self) -> None:
        """End the process: first let it finish its requests, then by force."""
        self.ready = False
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _GRACE_S)
        except TimeoutError:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()

    def forget(self) -> None:
        """Remove the copy of a package that was downloaded for this revision."""
        shutil.rmtree(self._folder / self.name, ignore_errors=True)

    async def _package(self) -> Path | None:
        if not self.template.storage_uri:
            return None
        self.reason = "fetching the model"
        target = self._folder / self.name
        return await asyncio.to_thread(materialise, self.template.storage_uri, target)

    async def _run_once(self, package: Path | None, session: aiohttp.ClientSession) -> int:
        port = _free_port()
        environment = self._environment(port, package)
        command = self._command(port, package)
        expanded = [_expand(argument, environment) for argument in command]
        with self.log.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *expanded,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),
                )
            except OSError as error:
                log.write(f"{expanded[0]}: {error}\n".encode())
                return _EX_CONFIG
        url, self.reason = f"http://127.0.0.1:{port}", "loading the model"
        watch = asyncio.create_task(self._watch(url, session))
        try:
            return await self._process.wait()
        finally:
            watch.cancel()

    async def _watch(self, url: str, session: aiohttp.ClientSession) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not await self._probe(url, session):
            if time.monotonic() > deadline:
                with self.log.open("a") as log:
                    log.write(f"not ready after {_START_TIMEOUT_S:.0f} s\n")
                _signal_group(process.pid, signal.SIGKILL)
                return
            await asyncio.sleep(0.1)
        self.url, self.ready, self.reason = url, True, ""
        failures = 0
        while failures < _PROBE_FAILURES:
            await asyncio.sleep(_PROBE_EVERY_S)
            failures = 0 if await self._probe(url, session) else failures + 1
        with self.log.open("a") as log:
            log.write(f"{_PROBE_FAILURES} health probes in a row without an answer\n")
        _signal_group(process.pid, signal.SIGKILL)

    async def _probe(self, url: str, session: aiohttp.ClientSession) -> bool:
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with session.get(url + self.template.probe_path, timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _command(self, port: int, package: Path | None) -> list[str]:
        if self.template.command:
            return [*self.template.command, *self.template.args]
        options = {
            "--model_name": self._service,
            "--model_dir": str(package),
            "--http_port": str(port),
            "--host": "127.0.0.1",
            "--revision": self.name,
        }
        program = [sys.executable, "-m", "serving.predictor"]
        return [*program, *(word for pair in options.items() for word in pair), *self.template.args]

    def _environment(self, port: int, package: Path | None) -> dict[str, str]:
        root = str(Path(serving.__file__).parents[1])
        inherited = os.environ.get("PYTHONPATH")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (root, inherited))),
            **self.template.env,
            "PORT": str(port),
            "MODEL_NAME": self._service,
            "MODEL_DIR": str(package or ""),
            "REVISION": self.name,
        }


def _expand(argument: str, environment: Mapping[str, str]) -> str:
    # As Kubernetes does for container arguments: an unknown name stays as it is.
    def replacement(match: re.Match[str]) -> str:
        return environment.get(match[1], match[0])

    return re.sub(r"\$\(([A-Za-z_]\w*)\)", replacement, argument)


def _die_with_parent() -> Callable[[], None]:
    """Return what a child runs before exec so that the kernel kills it with its parent."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:500] if lines else "no output"
