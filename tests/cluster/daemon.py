"""One program of the cluster: started, waited for, ended; it never outlives the tests."""

import ctypes
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_TAIL_LINES = 12
_TAIL_WIDTH = 300


class DaemonFailed(RuntimeError):
    """A program ended or did not become ready; the message carries the tail of its log."""


class Daemon:
    """A running program with its log.

    Attributes:
        name: What the program is called in messages.
        log: File with everything it wrote.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        grace_s: float = 10.0,
    ) -> None:
        """Start the program; the kernel kills it when the thread that called this ends.

        Args:
            command: Program and arguments.
            log: Where its output goes.
            environment: Additional environment.
            grace_s: How long `stop` lets it end by itself.
        """
        self.name, self.log, self._grace_s = log.stem, log, grace_s
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Return once `ready` says so.

        Raises:
            DaemonFailed: If the program ends first, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if (code := self._process.poll()) is not None:
                raise DaemonFailed(f"{self.name}: ended with code {code}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise DaemonFailed(f"{self.name}: not ready after {timeout_s:g} s\n{self.tail()}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End the program: first politely, then by force."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Stop the program where it is, as if it hung."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused program go on."""
        self._process.send_signal(signal.SIGCONT)

    def tail(self) -> str:
        """Return the last lines of the log, with its path."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"--- {self.log}", *(line[:_TAIL_WIDTH] for line in lines)])


def is_up(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Return whether the health endpoint answers 200."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # not listening yet, or HTTP 500: not ready yet
        return False


def _die_with_parent() -> Callable[[], None]:
    # Resolved before the fork: between fork and exec nothing may take a lock.
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind
