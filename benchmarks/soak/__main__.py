"""Releases under constant load: no request may fail that a bad canary did not answer.

Run: python -m benchmarks.soak [--minutes 10] [--clients 8] [--page build/soak_report.html]
The local platform serves the predictor of `benchmarks.serving` (exact top 10 of 100,000 x 64) to
clients that never pause. A good canary is tried at 0, 5, 50 and 100 % and promoted. Then a canary
whose model fails for a third of the users gets 10 % and is rolled back; then one gets 10 %, its
process is killed with SIGKILL, and it is rolled back. The exit code is 1 if a request failed that
was not in the failing model's share, if the killed one's users noticed anything, or if a process
that served grew by 5 % or 10 MB of resident memory.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from benchmarks.serving import write_package
from benchmarks.soak.load import ConstantLoad
from benchmarks.soak.memory import MemoryCurves
from benchmarks.soak.report import print_tables, write_report
from benchmarks.soak.verdict import BadCanary, Phase, Soak, judge
from serving.platform.local import LocalPlatform

SERVICE, NAMESPACE, BAD_PERCENT = "soak", "bench", 10
# Shares of the whole time; what starting the servers leaves of it goes to the last phase.
WARM_UP, CONSTANT, STEP, AFTER, BAD, LAST = 0.1, 0.2, 0.04, 0.18, 0.06, 0.16
_DEPLOY_TIMEOUT_S = 600.0
_console = Console()


class Run:
    """The releases and the phases they make; every wait of it is under load."""

    def __init__(self, platform: LocalPlatform, packages: Path, *, total_s: float) -> None:
        """Prepare.

        Args:
            platform: Where the service runs.
            packages: Folder of the packages "first", "good", "failing" and "dying".
            total_s: Length of the whole run.
        """
        self._platform, self._packages, self._total_s = platform, packages, total_s
        self.phases: list[Phase] = []
        self.good: list[str] = []
        self.failing = BadCanary("", BAD_PERCENT)
        self.dying = BadCanary("", BAD_PERCENT)

    def first_release(self) -> str:
        """Serve the first package; return the service's URL."""
        self.good.append(self._deploy("first"))
        self._platform.set_traffic(SERVICE, 100)
        url = self._platform.promote(SERVICE).url
        assert url is not None
        return url

    def releases(self, load: ConstantLoad, memory: MemoryCurves) -> None:
        """Go through all phases."""
        with self._phase("warm-up", load):
            self._wait(WARM_UP)
        with self._phase("constant load", load, constant=True):
            self._wait(CONSTANT)
        self._promote_the_good(load)
        self._roll_back_the_bad(load, memory)
        with self._phase("rolled back", load, constant=True):
            self._platform.roll_back(SERVICE, reason="soak: it died")
            self._wait(max(LAST, 1 - load.now_s / self._total_s))

    def _promote_the_good(self, load: ConstantLoad) -> None:
        with self._phase("good, 0 %", load):
            self.good.append(self._deploy("good"))
        for percent in (5, 50, 100):
            with self._phase(f"good, {percent} %", load):
                self._platform.set_traffic(SERVICE, percent)
                self._wait(STEP)
        with self._phase("promoted", load, constant=True):
            self._platform.promote(SERVICE)
            self._wait(AFTER)

    def _roll_back_the_bad(self, load: ConstantLoad, memory: MemoryCurves) -> None:
        with self._phase("failing, 0 %", load):
            self.failing = BadCanary(self._deploy("failing"), BAD_PERCENT)
        with self._phase(f"failing, {BAD_PERCENT} %", load):
            self._platform.set_traffic(SERVICE, BAD_PERCENT)
            self._wait(BAD)
        with self._phase("dying, 0 %", load):
            self._platform.roll_back(SERVICE, reason="soak: it fails")
            self.dying = BadCanary(self._deploy("dying"), BAD_PERCENT)
        with self._phase(f"dying, {BAD_PERCENT} %", load):
            self._platform.set_traffic(SERVICE, BAD_PERCENT)
            self._wait(BAD / 2)
            os.kill(memory.pid(self.dying.revision), signal.SIGKILL)
            self._wait(BAD / 2)

    def _deploy(self, package: str) -> str:
        model = {"modelFormat": {"name": "shopflow"}, "storageUri": str(self._packages / package)}
        resource: dict[str, Any] = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": SERVICE},
            "spec": {"predictor": {"model": model}},
        }
        canary = self._platform.deploy(resource, timeout_s=_DEPLOY_TIMEOUT_S).canary
        assert canary is not None
        return canary.name

    def _wait(self, share: float) -> None:
        time.sleep(share * self._total_s)

    @contextmanager
    def _phase(self, name: str, load: ConstantLoad, *, constant: bool = False) -> Iterator[None]:
        start_s = load.now_s
        with Status(f"{start_s / 60:4.1f} min  {name} …", console=_console):
            yield
        self.phases.append(Phase(name, start_s, load.now_s, constant))
        found = load.requests().between(start_s, load.now_s)
        failed = sum(n for what, n in found.by_outcome().items() if what.code != "200")
        _console.print(
            f"{load.now_s / 60:4.1f} min  {name:13}{len(found.began_s):>8,} requests, "
            f"{failed:,} failed",
            highlight=False,
        )


def write_packages(folder: Path) -> None:
    """Write the four packages: the same index, and one whose model fails for some users."""
    write_package(folder / "first")
    for name in ("good", "dying"):
        shutil.copytree(folder / "first", folder / name)
    write_package(folder / "failing", failing_users=True)


def soak(minutes: float, clients: int) -> Soak:
    """Run the soak in a folder of its own; everything started is ended."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_packages(folder / "packages")
        platform = LocalPlatform(folder / "state", namespace=NAMESPACE)
        run = Run(platform, folder / "packages", total_s=60 * minutes)
        try:
            with ConstantLoad(run.first_release(), SERVICE, clients=clients) as load:
                service = folder / "state" / NAMESPACE / SERVICE
                with MemoryCurves(service, lambda: load.now_s) as memory:
                    run.releases(load, memory)
            counted = platform.metrics(SERVICE)
        finally:
            platform.delete(SERVICE)
    return Soak(
        phases=run.phases,
        requests=load.requests(),
        failures=load.failures,
        good=run.good,
        failing=run.failing,
        dying=run.dying,
        routed={name: dict(found.requests) for name, found in counted.items()},
        curves=dict(memory.curves),
        warm_up_s=WARM_UP * 60 * minutes,
        load_cpu_share=load.cpu_share,
    )


def main() -> int:
    """Run, print, write the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=10.0, help="Length of the run, ≥ 2.")
    parser.add_argument("--clients", type=int, default=8, help="Requests under way at any time.")
    parser.add_argument("--page", type=Path, default=Path("build/soak_report.html"))
    options = parser.parse_args()
    if options.minutes < 2 or options.clients < 1:
        parser.error("expected --minutes ≥ 2 and --clients ≥ 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end the servers then, too
    found = soak(options.minutes, options.clients)
    verdicts = judge(found)
    print_tables(_console, found, verdicts)
    write_report(options.page, found, verdicts)
    _console.print(f"report: {options.page}", highlight=False)
    return 0 if all(one.good for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
