"""Versions of a pipeline: one of each content."""

import dataclasses

from components.errors import InputError
from pipelines.client.connection import Kubeflow, ServerError, named
from pipelines.client.package import CompiledPipeline


@dataclasses.dataclass(frozen=True)
class Version:
    """An uploaded version.

    Attributes:
        pipeline_id: The pipeline it belongs to.
        version_id: Its own id.
        name: Its name in the UI.
        uploaded: Whether it has just been uploaded; False: the server had this content.
    """

    pipeline_id: str
    version_id: str
    name: str
    uploaded: bool


def upload(
    kubeflow: Kubeflow, pipeline: CompiledPipeline, *, name: str = "", version: str = ""
) -> Version:
    """Upload a compiled pipeline, unless the server has a version of the same content.

    Args:
        kubeflow: The server.
        pipeline: What to upload.
        name: Name of the pipeline in the UI; "" is its own.
        version: Name of a new version; "" is the first 12 digits of its digest.

    Raises:
        InputError: If the name is taken by other content, or the server refuses the pipeline;
            nothing is left behind then.
    """
    name = name or pipeline.name
    pipeline_id = _pipeline_id(kubeflow, name)
    if pipeline_id and (found := _find(kubeflow, pipeline_id, pipeline.digest)):
        return found
    created = pipeline_id is None
    if pipeline_id is None:
        pipeline_id = _create(kubeflow, name, pipeline.description)
    try:
        answer = kubeflow.call(
            kubeflow.client.pipeline_uploads.upload_pipeline_version,
            str(pipeline.file),
            name=version or pipeline.digest.removeprefix("sha256:")[:12],
            pipelineid=pipeline_id,
            description=pipeline.digest,
        )
    except ServerError as error:
        if created:
            delete = kubeflow.client.pipelines.pipeline_service_delete_pipeline
            kubeflow.call(delete, pipeline_id=pipeline_id)
        if error.status == 409:
            raise InputError(
                f"--version {version}", "it taken by another content", "a new name"
            ) from error
        raise
    return Version(pipeline_id, answer.pipeline_version_id, answer.display_name, uploaded=True)


def _pipeline_id(kubeflow: Kubeflow, name: str) -> str | None:
    found = list(
        kubeflow.listed(
            kubeflow.client.pipelines.pipeline_service_list_pipelines,
            "pipelines",
            namespace=kubeflow.namespace,
            filter=named(name),
        )
    )
    if len(found) > 1:
        raise InputError(kubeflow.host, f"{len(found)} pipelines named {name}", "one at most")
    return found[0].pipeline_id if found else None


def _find(kubeflow: Kubeflow, pipeline_id: str, digest: str) -> Version | None:
    """Return the version with this content; its digest is its description."""
    for version in kubeflow.listed(
        kubeflow.client.pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
    ):
        if version.description == digest:
            return Version(
                pipeline_id, version.pipeline_version_id, version.display_name, uploaded=False
            )
    return None


def _create(kubeflow: Kubeflow, name: str, description: str) -> str:
    import kfp_server_api

    pipeline = kfp_server_api.V2beta1Pipeline(
        display_name=name, description=description, namespace=kubeflow.namespace
    )
    create = kubeflow.client.pipelines.pipeline_service_create_pipeline
    return str(kubeflow.call(create, pipeline=pipeline).pipeline_id)
