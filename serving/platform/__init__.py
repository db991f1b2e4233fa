"""The inference platform as the pipeline sees it: one small interface, chosen by a string."""

from pathlib import Path

from serving.platform.interface import (
    InferencePlatform,
    PlatformError,
    Prediction,
    Revision,
    RevisionFailed,
    RevisionMetrics,
    Rollback,
    ServiceStatus,
)

__all__ = [
    "InferencePlatform",
    "PlatformError",
    "Prediction",
    "Revision",
    "RevisionFailed",
    "RevisionMetrics",
    "Rollback",
    "ServiceStatus",
    "connect",
]


def connect(platform: str, *, namespace: str = "default") -> InferencePlatform:
    """Return the platform a pipeline parameter names.

    Args:
        platform: "local" for server processes on this machine with the state in the user's state
            folder, or "local:<folder>" to say which folder.
        namespace: Keeps services of the same name apart.

    Raises:
        PlatformError: If there is no such platform.
    """
    kind, _, where = platform.partition(":")
    if kind == "local":
        from serving.platform.local import LocalPlatform, default_state_dir

        state_dir = Path(where).expanduser().resolve() if where else default_state_dir()
        return LocalPlatform(state_dir, namespace=namespace)
    if platform == "kserve":
        raise PlatformError("platform: found 'kserve', which is not in this version; use 'local'")
    raise PlatformError(
        f"platform: found {platform!r}, expected 'local', 'local:<state folder>' or 'kserve'"
    )
