"""The deploy step's KFP interface."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def deploy(
    package_uri: str,
    service: str,
    release: dsl.Output[dsl.Artifact],
    platform: str = "local",
    namespace: str = "default",
    ready_timeout_s: float = 300.0,
    latency_budget_ms: float = 500.0,
    tf_threads: int = 1,
    serving: str = "",
    run_id: str = "",
) -> None:
    """Make a published package the canary of a service: ready, smoke-tested, at 0 % traffic.

    Args:
        package_uri: One published version, a folder or gs:// URI.
        service: Name of the InferenceService.
        release: Service, platform, stable and candidate revision, URL, as JSON.
        platform: Inference platform: "local", "local:<state folder>", "kserve" or
            "kserve:key=value,...".
        namespace: Namespace of the service.
        ready_timeout_s: How long the new revision may take to become ready.
        latency_budget_ms: Limit of the golden requests' median latency.
        tf_threads: Threads TensorFlow computes on in each server.
        serving: More settings of the servers, a JSON object; see the step's README.
        run_id: The run this is part of, for the record and for its exit handler.
    """
    from pathlib import Path

    from components.deploy.deploy import deploy as run
    from components.deploy.settings import parse_settings

    run(
        package_uri=package_uri,
        service=service,
        platform=platform,
        namespace=namespace,
        settings=parse_settings(
            serving,
            ready_timeout_s=ready_timeout_s,
            latency_budget_ms=latency_budget_ms,
            tf_threads=tf_threads,
        ),
        release_path=Path(release.path),
        run_id=run_id,
    )
