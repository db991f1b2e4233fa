"""The InferenceService of a package."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DeploySettings:
    """How a package is served.

    Attributes:
        ready_timeout_s: How long a new revision may take to become ready.
        request_timeout_s: How long one request may take.
        smoke_timeout_s: How long all golden requests together may take.
        latency_budget_ms: Limit of the golden requests' median latency.
        tf_threads: Threads TensorFlow computes on in each server.
        server_command: Program and arguments of a server to run in place of Shopflow's
            predictor; it finds the package in MODEL_DIR and its port in PORT.
    """

    ready_timeout_s: float = 300.0
    request_timeout_s: int = 60
    smoke_timeout_s: float = 60.0
    latency_budget_ms: float = 500.0
    tf_threads: int = 1
    server_command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings nothing could be deployed with."""
        for name in (
            "ready_timeout_s",
            "request_timeout_s",
            "smoke_timeout_s",
            "latency_budget_ms",
            "tf_threads",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected more than 0")


def build_inference_service(
    *, service: str, namespace: str, package_uri: str, settings: DeploySettings
) -> dict[str, Any]:
    """Return the serving.kserve.io/v1beta1 resource for a package, without a traffic split."""
    predictor: dict[str, Any] = {"timeout": settings.request_timeout_s}
    if settings.server_command:
        predictor["containers"] = [
            {
                "name": "kserve-container",
                "command": list(settings.server_command),
                "env": [{"name": "STORAGE_URI", "value": package_uri}],
            }
        ]
    else:
        predictor["model"] = {
            "modelFormat": {"name": "shopflow"},
            "storageUri": package_uri,
            "args": ["--tf_threads", str(settings.tf_threads)],
        }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": service, "namespace": namespace},
        "spec": {"predictor": predictor},
    }
