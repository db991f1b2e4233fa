"""What a server calls itself, in its answers and its metrics."""

from collections.abc import Mapping

# Set by the platform in Standard mode, where a pod knows nothing but its own name.
PREDICTOR_NAME = "SHOPFLOW_PREDICTOR_NAME"


def own_revision(service: str, environment: Mapping[str, str]) -> str:
    """Return the name of the revision a server belongs to, as the platform calls it.

    Args:
        service: Name of the service, which is the model's name.
        environment: The server's environment variables.

    Returns:
        Knative's Revision; in Standard mode the Deployment (KServe: PredictorServiceName); the pod
        where neither is told; else nothing.
    """
    if revision := environment.get("K_REVISION"):
        return revision
    if name := environment.get(PREDICTOR_NAME):
        return f"{service}-{name}-predictor"
    return environment.get("HOSTNAME", "")
