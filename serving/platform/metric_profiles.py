"""Where a revision's requests are counted, system by system: names, units and labels, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.platform.interface import PlatformError

# google.rpc codes as TF Serving itself turns them into HTTP: model_servers/http_server.cc.
_TF_SERVING_CODES = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


@dataclass(frozen=True)
class MetricProfile:
    """How one system counts a revision's requests and their latency.

    Attributes:
        name: What a setting calls it.
        requests: Counter of requests.
        latency: Cumulative buckets of a classic histogram, upper bound in `le`.
        ms_per_unit: Milliseconds in one unit of `le`.
        code_label: Label of `requests` with the status.
        revision_label: Label with the revision.
        matchers: Labels that must be equal; `{service}` and `{namespace}` stand for their names.
        revision_suffixes: What the system may add to the revision's name in its label.
        target_metric: Series that carries revision and matchers where the others do not; it and
            they belong together by job, instance and pod. Empty where they carry them themselves.
        codes: HTTP status by the label's value, where that is not the number itself.
    """

    name: str
    requests: str
    latency: str
    ms_per_unit: float
    code_label: str
    revision_label: str
    matchers: Mapping[str, str]
    revision_suffixes: tuple[str, ...] = ("",)
    target_metric: str = ""
    codes: Mapping[str, int] = field(default_factory=dict)

    def status_code(self, labels: Mapping[str, str]) -> int:
        """Return the HTTP status of a series of `requests`.

        Raises:
            PlatformError: If it is not one; an unknown status is no success.
        """
        text = labels.get(self.code_label, "")
        if text in self.codes:
            return self.codes[text]
        if len(text) == 3 and text.isascii() and text.isdigit():
            return int(text)
        raise PlatformError(f"{self.requests}: found {self.code_label}={text!r}, expected a status")

    def revision_values(self, revision: str) -> tuple[str, ...]:
        """Return the values the revision label may have for a revision."""
        return tuple(revision + suffix for suffix in self.revision_suffixes)


# Knative's whole-proxy metrics, not those of the user container alone: a full queue (503) and a
# timeout (504) are answered by the proxy, and are what the user got.
KNATIVE_BEFORE_1_19 = MetricProfile(
    name="knative-before-1.19",
    requests="revision_request_count",
    latency="revision_request_latencies_bucket",
    ms_per_unit=1.0,
    code_label="response_code",
    revision_label="revision_name",
    matchers={"namespace_name": "{namespace}"},
)

# Not kn_serving_invocation_duration: until 1.19.8 and 1.20.1 that was kn_queueproxy_app_duration,
# and it does not see the proxy's own answers. Neither carries the revision: it is a resource
# attribute, which the exporter puts on target_info only.
KNATIVE_1_19 = MetricProfile(
    name="knative-1.19",
    requests="http_server_request_duration_seconds_count",
    latency="http_server_request_duration_seconds_bucket",
    ms_per_unit=1000.0,
    code_label="http_response_status_code",
    revision_label="kn_revision_name",
    matchers={"k8s_namespace_name": "{namespace}"},
    target_metric="target_info",
)

# Counted by the sidecar of the pod that answers. A workload is a Deployment, which Knative names
# after the revision with "-deployment" behind it. 0 is a user who left before there was an answer.
ISTIO = MetricProfile(
    name="istio",
    requests="istio_requests_total",
    latency="istio_request_duration_milliseconds_bucket",
    ms_per_unit=1.0,
    code_label="response_code",
    revision_label="destination_workload",
    matchers={"destination_workload_namespace": "{namespace}", "reporter": "destination"},
    revision_suffixes=("", "-deployment"),
    codes={"0": 499},
)

# TF Serving knows no revision and no namespace: both are labels of the scrape target, given by
# serving/manifests/monitoring. Its latencies are those of successful requests only.
TF_SERVING = MetricProfile(
    name="tf-serving",
    requests=":tensorflow:serving:request_count",
    latency=":tensorflow:serving:request_latency_bucket",
    ms_per_unit=0.001,
    code_label="status",
    revision_label="revision",
    matchers={"namespace": "{namespace}", "model_name": "{service}"},
    codes=_TF_SERVING_CODES,
)

# serving/protocol/gate.py; the namespace is a label of the scrape target.
SHOPFLOW = MetricProfile(
    name="shopflow",
    requests="shopflow_predictor_requests_total",
    latency="shopflow_predictor_request_seconds_bucket",
    ms_per_unit=1000.0,
    code_label="code",
    revision_label="revision",
    matchers={"namespace": "{namespace}", "model_name": "{service}"},
)

PROFILES = {
    profile.name: profile
    for profile in (KNATIVE_BEFORE_1_19, KNATIVE_1_19, ISTIO, TF_SERVING, SHOPFLOW)
}


def find_profile(name: str) -> MetricProfile:
    """Return the profile of that name.

    Raises:
        PlatformError: If there is none.
    """
    if name not in PROFILES:
        raise PlatformError(f"metric profile: found {name!r}, expected one of {sorted(PROFILES)}")
    return PROFILES[name]
