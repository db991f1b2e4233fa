"""The controllers a test of the KServe platform runs against: KServe's own, or the stand-in."""

import threading
from contextlib import AbstractContextManager

from serving.platform.cluster import ApiError, path
from serving.platform.route import read_split
from tests.cluster.cluster import Cluster
from tests.cluster.stand_in import cluster_of


class KServeItself(AbstractContextManager["KServeItself"]):
    """KServe's own controller in Standard mode, and a witness of every split users had.

    Attributes:
        mode: Standard.
        route: "weights" where canaries get what KServe 0.21 gives them, else "single".
        broken: A package whose pods do not start.
        words: What the cluster says about it.
        splits: Every split seen on the route users come by, in order.
    """

    mode = "Standard"
    broken = "gs://models/no-such-model/1"
    words = told = "no files found"
    controller = "kserve"

    def __init__(self, cluster: Cluster, namespace: str, *, weighted: bool) -> None:
        self.kubeconfig, self.namespace = cluster.kubeconfig, namespace
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
        where = path("gateway.networking.k8s.io/v1", "httproutes", self.namespace, "shop")
        while not self._stop.wait(0.02):
            try:
                route = self.cluster.get(where)
            except ApiError:
                continue
            split = read_split(route)[0] if route else {}
            if split and (not self.splits or self.splits[-1] != split):
                self.splits.append(split)
