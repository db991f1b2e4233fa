"""A standalone Flink cluster on loopback, with Beam's job server and Beam's Python workers.

Four processes beside the test's own: job manager, task manager, job server, worker pool.
"""

import contextlib
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.daemon import Daemon
from tests.ports import free_port

_ROOT = Path(__file__).parents[2]
_START_S = 300.0
# A transform graph is one job of some hundred shuffles: Flink's own defaults for their buffers are
# meant for bigger task managers. The time-outs are for a machine that has much else to do.
_CONFIG = """
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc_port}
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest_port}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: {slots}
taskmanager.cpu.cores: {slots}
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.task.heap.size: 1024m
taskmanager.memory.framework.off-heap.size: 64m
taskmanager.memory.task.off-heap.size: 64m
taskmanager.memory.network.min: 384m
taskmanager.memory.network.max: 384m
taskmanager.memory.managed.size: 256m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 64m
taskmanager.memory.jvm-overhead.max: 64m
taskmanager.network.sort-shuffle.min-buffers: 32
classloader.resolve-order: parent-first
io.tmp.dirs: {folder}
pekko.ask.timeout: 300 s
heartbeat.timeout: 300000
"""


class Flink:
    """The running cluster.

    Attributes:
        daemons: Its processes by name, in the order they were started.
        beam_options: What a step is given to run there.
        exchange: Folder through which a step and its workers exchange files.
    """

    def __init__(self, jars: Path, folder: Path, *, slots: int) -> None:
        """Start everything and wait until the task manager has registered.

        Args:
            jars: Folder of `jars.fetch`.
            folder: For configuration, logs and what step and workers exchange.
            slots: Task slots, and the parallelism of jobs.
        """
        self._rest, rpc, self._jobs, pool = (free_port() for _ in range(4))
        config = folder / "conf"
        config.mkdir(parents=True)
        text = _CONFIG.format(rpc_port=rpc, rest_port=self._rest, slots=slots, folder=folder)
        (config / "flink-conf.yaml").write_text(text)
        self.daemons: dict[str, Daemon] = {}
        runtime = "org.apache.flink.runtime"
        session = f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint"
        worker = f"{runtime}.taskexecutor.TaskManagerRunner"
        server = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        # C1 alone: such short lives do not pay for the second compiler.
        java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
        configured = ["--configDir", config]
        self._start("job-manager", folder, [*java, "-Xmx512m", session, *configured])
        self._start("task-manager", folder, [*java, "-Xmx1200m", worker, *configured])
        where = [f"--flink-master=127.0.0.1:{self._rest}", f"--flink-conf-dir={config}"]
        where += ["--job-host=127.0.0.1", f"--job-port={self._jobs}", "--artifact-port=0"]
        where += ["--expansion-port=0", f"--artifacts-dir={folder / 'artifacts'}"]
        self._start("job-server", folder, [*java, "-Xmx512m", server, *where])
        # Without Beam's container program, a worker pool starts what is called python on the PATH.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        workers = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
        found = {"PATH": path, "PYTHONPATH": str(_ROOT)}
        self._start("workers", folder, [*workers, f"--service_port={pool}"], found)
        self.daemons["task-manager"].wait_until(
            lambda: self._count("slots-total") == slots, timeout_s=_START_S
        )
        for name, port in (("job-server", self._jobs), ("workers", pool)):
            self.daemons[name].wait_until(lambda port=port: _listens(port), timeout_s=_START_S)
        self.exchange = folder / "exchange"
        self.beam_options = [
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{self._jobs}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{pool}",
            f"--parallelism={slots}",
            # Without it a worker that is idle between two stages ends, and TensorFlow loads anew.
            "--environment_cache_millis=300000",
            f"--temp_location={self.exchange}",
        ]

    def finished_jobs(self) -> int:
        """Return how many jobs the cluster has finished."""
        return self._count("jobs-finished")

    def stop(self) -> None:
        """End every process."""
        for daemon in reversed(self.daemons.values()):
            daemon.stop()

    def _start(
        self,
        name: str,
        folder: Path,
        command: list[str | Path],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.daemons[name] = Daemon(command, log=folder / f"{name}.log", environment=environment)

    def _count(self, what: str) -> int:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with (
            contextlib.suppress(OSError),
            opener.open(f"http://127.0.0.1:{self._rest}/overview") as answer,
        ):
            return int(json.load(answer)[what])
        return 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running_flink(jars: Path, folder: Path, *, slots: int = 2) -> Iterator[Flink]:
    """Run a cluster."""
    flink = Flink(jars, folder, slots=slots)
    try:
        yield flink
    finally:
        flink.stop()
