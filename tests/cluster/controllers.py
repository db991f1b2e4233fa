"""The controllers a test of the KServe platform runs against: KServe's own, or the stand-in."""

import threading
from contextlib import AbstractContextManager
from typing import Literal

from serving.platform.cluster import JSON, ApiError, path
from serving.platform.knative import read_traffic
from serving.platform.route import read_split
from tests.cluster.cluster import Cluster
from tests.cluster.kserve_stand_in import cluster_of


class KServeItself(AbstractContextManager["KServeItself"]):
    """KServe's own controller, on Knative's own or alone, and a witness of the users' splits.

    Attributes:
        mode: Knative or Standard.
        route: "weights" where a share can be given, else "single".
        annotations: What a service needs to be run in that mode.
        broken: A package whose pods do not start.
        words: What the cluster says about it.
        splits: Every split seen on the route users come by, in order.
    """

    broken = "gs://models/no-such-model/1"
    words = told = "no files found"
    controller = "kserve"

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        mode: Literal["Knative", "Standard"],
        *,
        weighted: bool,
    ) -> None:
        self.kubeconfig, self.namespace, self.mode = cluster.kubeconfig, namespace, mode
        self.annotations = {"serving.kserve.io/deploymentMode": mode}
        self.route = "weights" if weighted else "single"
        self.cluster = cluster_of(cluster.kubeconfig)
        self.splits: list[dict[str, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._witness, daemon=True)

    def __enter__(self) -> "KServeItself":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _witness(self) -> None:
        while not self._stop.wait(0.02):
            try:
                split = self._split()
            except ApiError:
                continue
            if split and (not self.splits or self.splits[-1] != split):
                self.splits.append(split)

    def _split(self) -> dict[str, int]:
        if self.mode == "Standard":
            route = self._get("gateway.networking.k8s.io/v1", "httproutes", "shop")
            return read_split(route)[0] if route else {}
        ksvc = self._get("serving.knative.dev/v1", "services", "shop-predictor")
        hidden = "networking.knative.dev/visibility" in (
            (ksvc or {}).get("metadata", {}).get("labels") or {}
        )
        return {} if hidden else read_traffic((ksvc or {}).get("status") or {})[0]

    def _get(self, api: str, plural: str, name: str) -> JSON | None:
        return self.cluster.get(path(api, plural, self.namespace, name))
