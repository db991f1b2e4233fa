"""The whole demo after installation: wall time and memory, against the limits it must keep.

Run: python -m benchmarks.demo
A first release into a fresh workspace, in processes as `make demo` starts them. Memory is the sum
over every process of the run, servers and router included, of its proportional set size (a page
that processes share is counted once), looked at twice a second. Other work on the machine slows
the demo, so the limits are a statement about a machine that does nothing else.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil

from pipelines.demo import SERVICE

LIMIT_S = 300.0
LIMIT_GB = 6.0
_MARK = "SHOPFLOW_BENCHMARK"
_LOOK_EVERY_S = 0.5


class PeakMemory:
    """Highest sum of the proportional set sizes of all processes that carry a mark.

    The mark is an environment variable, because a detached server is nobody's child but has
    inherited its starter's environment.
    """

    def __init__(self, mark: str) -> None:
        """Prepare to look.

        Args:
            mark: Value of the environment variable.
        """
        self._mark = mark
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.bytes = 0

    def __enter__(self) -> "PeakMemory":
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            self.bytes = max(self.bytes, sum(map(self._pss, psutil.process_iter())))

    def _pss(self, process: psutil.Process) -> int:
        try:
            if process.environ().get(_MARK) != self._mark:
                return 0
            return int(process.memory_full_info().pss)
        except psutil.Error:
            return 0


def main() -> None:
    """Print the time and the memory, and each as a share of its limit."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "demo"
        started = time.perf_counter()
        try:
            with PeakMemory(mark) as memory:
                command = [sys.executable, "-m", "pipelines.demo", "--workspace", str(workspace)]
                subprocess.run(command, check=True, env=os.environ | {_MARK: mark})
            seconds = time.perf_counter() - started
        finally:
            stop = ["stop", SERVICE, "--state-dir", str(workspace / "serving")]
            subprocess.run([sys.executable, "-m", "serving.platform", *stop], check=True)
    gigabytes = memory.bytes / 1e9
    print(f"demo: {seconds:.0f} s, {seconds / LIMIT_S:.2f} of the limit of {LIMIT_S:.0f} s")
    print(f"demo: {gigabytes:.1f} GB, {gigabytes / LIMIT_GB:.2f} of the limit of {LIMIT_GB:.0f} GB")


if __name__ == "__main__":
    main()
