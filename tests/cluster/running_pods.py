"""Real servers for the predictor pods of a namespace, and the page that says where they are.

kwok says that a pod runs; here is what would run in it: the predictor, told by environment and
name what KServe wrote into the pod, on a port of this machine. A Prometheus finds the servers as
it would on a cluster, by what service discovery says of the pods.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serving.platform.cluster import JSON, ApiError, Cluster, path
from tests.ports import free_port

_ROOT = Path(__file__).parents[2]
_SERVER = _ROOT / "tests" / "serving" / "faulty_server.py"


@dataclass(frozen=True)
class Server:
    """What runs in a pod.

    Attributes:
        pod: Name of the pod.
        app: Its label of that name: the revision, in Standard mode with "isvc." before it.
        url: Where it answers.
        process: The predictor.
    """

    pod: str
    app: str
    url: str
    process: subprocess.Popen[bytes]

    @property
    def revision(self) -> str:
        """Name of the revision, as the platform calls it."""
        return self.app.removeprefix("isvc.")


class RunningPods(AbstractContextManager["RunningPods"]):
    """Starts a server for each predictor pod that is there, and ends it with the pod.

    Attributes:
        targets: File for Prometheus' file_sd_configs.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        folder: Path,
        *,
        package: Path,
        options: Mapping[str, tuple[str, ...]],
    ) -> None:
        """Look after a namespace.

        Args:
            cluster: Where the pods are.
            namespace: Their namespace.
            folder: For the file of targets and the logs.
            package: What every server serves, whatever its pod's package is.
            options: Further words of the server's command line, by the pod's package.
        """
        self._cluster, self._namespace, self._folder = cluster, namespace, folder
        self._package, self._options = package, options
        self.targets = folder / "targets.json"
        self.targets.write_text("[]")
        self._servers: dict[str, Server] = {}
        self._targets: dict[str, JSON] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "RunningPods":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End every server."""
        self._stop.set()
        self._thread.join()
        for server in self._servers.values():
            server.process.kill()
            server.process.wait()

    def of(self, revision: str) -> list[Server]:
        """Return the servers of a revision that are ready, whoever they say they are."""
        found = [one for one in dict(self._servers).values() if one.revision == revision]
        return [one for one in found if _is_ready(one.url)]

    def all(self) -> list[Server]:
        """Return every server, ready or not."""
        return list(dict(self._servers).values())

    def _run(self) -> None:
        where = path("v1", "pods", self._namespace)
        while not self._stop.wait(0.1):
            try:
                pods = self._cluster.items(where, labelSelector="component=predictor")
            except ApiError:
                continue
            there = {
                one["metadata"]["name"]: one
                for one in pods
                if not one["metadata"].get("deletionTimestamp")
            }
            if there.keys() == self._servers.keys():
                continue
            for name in self._servers.keys() - there.keys():
                gone = self._servers.pop(name)
                del self._targets[name]
                gone.process.kill()
                gone.process.wait()
            for name in there.keys() - self._servers.keys():
                self._start(there[name])
            self.targets.write_text(json.dumps(list(self._targets.values())))

    def _start(self, pod: Mapping[str, Any]) -> None:
        name, labels, port = pod["metadata"]["name"], pod["metadata"]["labels"], free_port()
        (container,) = [
            one for one in pod["spec"]["containers"] if one["name"] == "kserve-container"
        ]
        (model,) = [word for word in container["args"] if word.startswith("--model_name=")]
        (fetch,) = pod["spec"]["initContainers"]
        command = [sys.executable, str(_SERVER), model, f"--model_dir={self._package}"]
        command += [f"--http_port={port}", "--host=127.0.0.1", *self._options[fetch["args"][0]]]
        told = {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}
        environment = {**os.environ, **told, "HOSTNAME": name, "PYTHONPATH": str(_ROOT)}
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        self._servers[name] = Server(name, labels["app"], url, process)
        about = {f"label_{key}": value for key, value in labels.items()}
        about |= {"container_name": container["name"], "name": name}
        about["annotation_prometheus.kserve.io/port"] = str(port)
        found = {f"__meta_kubernetes_pod_{_legal(key)}": value for key, value in about.items()}
        # What the Prometheus operator adds to every target of a PodMonitor.
        found |= {"namespace": self._namespace, "pod": name, "container": container["name"]}
        self._targets[name] = {"targets": [f"127.0.0.1:{port}"], "labels": found}


def _legal(key: str) -> str:
    """Return a label's or annotation's key as service discovery spells it."""
    return "".join(letter if letter.isalnum() else "_" for letter in key)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
