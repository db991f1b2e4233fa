"""Putting the cluster, its metrics and the way into it together."""

from pathlib import Path

from serving.platform.cluster import connect_cluster
from serving.platform.inference_service import check_name
from serving.platform.kserve import KServePlatform
from serving.platform.kserve_options import parse_options
from serving.platform.prediction import Sender


def connect_kserve(options: str, *, namespace: str) -> KServePlatform:
    """Return the platform "kserve:<options>".

    Args:
        options: See `parse_options`.
        namespace: Namespace of the services.

    Raises:
        PlatformError: If an option is unknown, or there is no cluster.
    """
    parsed = parse_options(options)
    check_name(namespace, "namespace")
    metrics = None
    if parsed.prometheus:
        from serving.platform.feedback_profiles import find_feedback
        from serving.platform.metric_profiles import find_profile
        from serving.platform.prometheus import PrometheusSource
        from serving.platform.prometheus_api import PrometheusSettings

        settings = PrometheusSettings(
            parsed.prometheus,
            token_file=Path(parsed.token_file) if parsed.token_file else None,
            token_env=parsed.token_env,
            ca_file=Path(parsed.ca_file) if parsed.ca_file else None,
        )
        feedback = find_feedback(
            parsed.feedback, impressions=parsed.impressions, clicks=parsed.clicks
        )
        metrics = PrometheusSource(settings, find_profile(parsed.profile), feedback=feedback)
    return KServePlatform(
        connect_cluster(parsed.context),
        namespace=namespace,
        metrics=metrics,
        sender=Sender(parsed.gateway),
        controller=parsed.controller,
    )
