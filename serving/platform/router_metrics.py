"""Reading the router's metrics page."""

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from serving.platform.interface import FeedbackCounts, RevisionMetrics


def read_metrics(page: str) -> Mapping[str, RevisionMetrics]:
    """Return the counters of the users' requests by revision.

    Args:
        page: The router's /metrics in Prometheus' text format; seconds become milliseconds.
    """
    requests: dict[str, dict[int, int]] = defaultdict(dict)
    latency_ms: dict[str, dict[float, int]] = defaultdict(dict)
    reported: dict[str, dict[str, int]] = defaultdict(dict)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if (of := sample.labels.get("recommended_by")) is not None:
                reported[of][sample.name] = int(sample.value)
            if sample.labels.get("route") != "split":
                continue
            revision = sample.labels["revision"]
            if sample.name == "shopflow_router_requests_total":
                requests[revision][int(sample.labels["code"])] = int(sample.value)
            elif sample.name == "shopflow_router_request_seconds_bucket":
                bound_ms = round(float(sample.labels["le"]) * 1000, 4)
                latency_ms[revision][bound_ms] = int(sample.value)
    return {
        name: RevisionMetrics(requests[name], latency_ms[name], _feedback(reported.get(name, {})))
        for name in requests
    }


def _feedback(counts: Mapping[str, int]) -> FeedbackCounts | None:
    impressions = counts.get("shopflow_feedback_impressions_total")
    if impressions is None:
        return None
    return FeedbackCounts(impressions, counts.get("shopflow_feedback_clicks_total", 0))
