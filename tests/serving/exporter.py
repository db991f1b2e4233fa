"""Servers whose metrics pages say exactly what other systems' pages say.

Names, labels, bounds and units are those of the sources named in docs/metrics.md; the pages are
written here, because no client library can be told to write them.
"""

import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from tests.ports import free_port

INF = float("inf")
KNATIVE_MS = (5, 10, 20, 40, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800,
              900, 1000, 2000, 5000, 10000, 20000, 50000, 100000)  # fmt: skip
OTEL_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
ISTIO_MS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000,
            600000, 1800000, 3600000)  # fmt: skip
TF_US = tuple(10 * 1.8**power for power in range(32))
SHOPFLOW_S = tuple(round(0.0005 * 1.15**power, 7) for power in range(84))


class Exporter:
    """One process with a metrics page, on a port that stays its own when it restarts."""

    def __init__(self) -> None:
        self.port = free_port()
        self._values: dict[str, float] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with page._lock:
                    lines = [f"{series} {value}\n" for series, value in page._values.items()]
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write("".join(lines).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """End the process: its counters are lost."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None
        self._values.clear()

    def put(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Set a value."""
        with self._lock:
            self._values[_series(name, labels)] = value

    def say(self, lines: Iterable[tuple[str, Mapping[str, str], float]]) -> None:
        """Add to values, all between two scrapes."""
        with self._lock:
            for name, labels, by in lines:
                series = _series(name, labels)
                self._values[series] = self._values.get(series, 0) + by


def _series(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}"


class System(Protocol):
    """What a system's page says more after `times` requests to a revision."""

    def __call__(
        self, exporter: Exporter, revision: str, *, code: int, ms: float, times: int
    ) -> None: ...


def _histogram(name, labels, value, bounds, times):
    for bound in (*bounds, INF):
        le = "+Inf" if bound == INF else f"{bound:.10g}"
        yield f"{name}_bucket", labels | {"le": le}, times if value <= bound else 0
    yield f"{name}_count", labels, times
    yield f"{name}_sum", labels, times * value


def knative_before_1_19(exporter: Exporter, revision: str, *, code: int, ms: float, times: int):
    labels = {
        "configuration_name": "shop-predictor",
        "container_name": "queue-proxy",
        "namespace_name": "test",
        "pod_name": f"{revision}-deployment-0",
        "response_code": str(code),
        "response_code_class": f"{code // 100}xx",
        "revision_name": revision,
        "route_tag": "DISABLED",
        "service_name": "shop-predictor",
    }
    exporter.say(
        [
            ("revision_request_count", labels, times),
            *_histogram("revision_request_latencies", labels, ms, KNATIVE_MS, times),
        ]
    )


def knative_1_19(exporter: Exporter, revision: str, *, code: int, ms: float, times: int):
    labels = {
        "http_request_method": "POST",
        "http_response_status_code": str(code),
        "network_protocol_name": "http",
        "network_protocol_version": "1.1",
        "otel_scope_name": "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
        "server_address": "shop-predictor.test.svc.cluster.local",
        "url_scheme": "http",
    }
    about = {
        "k8s_namespace_name": "test",
        "kn_configuration_name": "shop-predictor",
        "kn_revision_name": revision,
        "kn_service_name": "shop-predictor",
        "service_name": "shop-predictor",
    }
    latency = "http_server_request_duration_seconds"
    exporter.say(_histogram(latency, labels, ms / 1000, OTEL_S, times))
    exporter.put("target_info", about, 1)


def istio(exporter: Exporter, revision: str, *, code: int, ms: float, times: int):
    for reporter in ("source", "destination"):  # both ends of a request count it
        labels = {
            "reporter": reporter,
            "source_workload": "istio-ingressgateway",
            "destination_workload": f"{revision}-deployment",
            "destination_workload_namespace": "test",
            "request_protocol": "http",
            "response_code": str(code),
            "response_flags": "-",
        }
        latency = "istio_request_duration_milliseconds"
        exporter.say(
            [
                ("istio_requests_total", labels, times),
                *_histogram(latency, labels, ms, ISTIO_MS, times),
            ]
        )


def tf_serving(exporter: Exporter, revision: str, *, code: int, ms: float, times: int):
    status = {200: "OK", 503: "UNAVAILABLE"}[code]
    target = {"revision": revision}  # which the PodMonitor gives
    labels = {"model_name": "shop", "status": status}
    exporter.say([(":tensorflow:serving:request_count", target | labels, times)])
    if status == "OK":
        api = {"model_name": "shop", "API": "predict", "entrypoint": "REST"}
        latency = ":tensorflow:serving:request_latency"
        exporter.say(_histogram(latency, target | api, ms * 1000, TF_US, times))


def shopflow(exporter: Exporter, revision: str, *, code: int, ms: float, times: int):
    labels = {"model_name": "shop", "revision": revision}
    latency = "shopflow_predictor_request_seconds"
    exporter.say(
        [
            ("shopflow_predictor_requests_total", labels | {"code": str(code)}, times),
            *_histogram(latency, labels, ms / 1000, SHOPFLOW_S, times),
        ]
    )
