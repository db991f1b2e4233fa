"""The inference platform as the pipeline sees it: one small interface, chosen by a string."""

from pathlib import Path

from serving.platform.interface import (
    FeedbackCounts,
    InferencePlatform,
    NoReleases,
    PlatformError,
    Prediction,
    Provenance,
    Revision,
    RevisionFailed,
    RevisionMetrics,
    Rollback,
    RolloutRunning,
    ServiceStatus,
    TemporaryService,
)
from serving.platform.temporary import RUN, temporary_name

__all__ = [
    "RUN",
    "FeedbackCounts",
    "InferencePlatform",
    "NoReleases",
    "PlatformError",
    "Prediction",
    "Provenance",
    "Revision",
    "RevisionFailed",
    "RolloutRunning",
    "RevisionMetrics",
    "Rollback",
    "ServiceStatus",
    "TemporaryService",
    "connect",
    "temporary_name",
]


def connect(platform: str, *, namespace: str = "default") -> InferencePlatform:
    """Return the platform a pipeline parameter names.

    Args:
        platform: "local" for server processes on this machine with the state in the user's state
            folder, or "local:<folder>" to say which folder. "kserve" for the cluster this runs in
            or KUBECONFIG names, with options as "kserve:key=value,key=value"; see
            `serving.platform.kserve_options`.
        namespace: Keeps services of the same name apart.

    Raises:
        PlatformError: If there is no such platform, or no cluster.
    """
    kind, _, where = platform.partition(":")
    if kind == "local":
        from serving.platform.local import LocalPlatform, default_state_dir

        state_dir = Path(where).expanduser().resolve() if where else default_state_dir()
        return LocalPlatform(state_dir, namespace=namespace)
    if kind == "kserve":
        from serving.platform.kserve_connection import connect_kserve

        return connect_kserve(where, namespace=namespace)
    raise PlatformError(
        f"platform: found {platform!r}, expected 'local', 'local:<state folder>', 'kserve' or "
        "'kserve:key=value,…'"
    )
