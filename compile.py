"""Pipelines → YAML that a Kubeflow Pipelines 2.17 backend accepts."""

import difflib
import hashlib
import importlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.cli import run_step
from components.errors import InputError

if TYPE_CHECKING:  # kfp takes its time to load, and a wrong option is answered without it
    from kfp.compiler import KubernetesManifestOptions

    from pipelines.step_settings import PipelineSettings

# name → (module, function that builds the pipeline from PipelineSettings)
PIPELINES = {"recommender": ("pipelines.recommender", "recommender")}

_REGISTRY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9.-]{1,253}/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NVIDIA = "nvidia.com/gpu"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def image_reference(registry: str, name: str, tag: str) -> str:
    """Return the full reference of one of our images.

    Args:
        registry: Host and path, without a scheme and without a slash at the end.
        name: Image name.
        tag: Immutable tag, or a `sha256:` digest.

    Raises:
        InputError: If the registry or the tag is malformed, or the tag is one that moves.
    """
    if not _REGISTRY.fullmatch(registry):
        raise InputError("--registry", repr(registry), "host/path in lower case, no https://")
    if _DIGEST.fullmatch(tag):
        return f"{registry}/{name}@{tag}"
    if tag == "latest" or not _TAG.fullmatch(tag):
        raise InputError(
            "--tag", repr(tag), "an immutable tag or sha256 digest: KFP caches by the image's name"
        )
    return f"{registry}/{name}:{tag}"


def check_pipeline(name: str) -> None:
    """Refuse a name that there is no pipeline of.

    Raises:
        InputError: Names the pipelines, and the one that was probably meant.
    """
    if name not in PIPELINES:
        close = difflib.get_close_matches(name, PIPELINES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError("--pipeline", repr(name), f"one of {', '.join(PIPELINES)}{hint}")


def manifest_options(name: str, content: bytes, namespace: str) -> "KubernetesManifestOptions":
    """Return how the `Pipeline` and `PipelineVersion` of a GitOps repository are called.

    A version is called after its content, because KFP lets none change once it is applied.

    Args:
        name: The pipeline.
        content: Its YAML.
        namespace: Namespace of the manifests.
    """
    from kfp.compiler import KubernetesManifestOptions

    return KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=f"{name}-{hashlib.sha256(content).hexdigest()[:12]}",
        namespace=namespace,
        include_pipeline_manifest=True,
    )


def compile_pipeline(
    name: str,
    out: Path,
    settings: "PipelineSettings",
    *,
    manifest_namespace: str = "",
) -> Path:
    """Compile one pipeline.

    Args:
        name: One of `PIPELINES`.
        out: Folder to write into.
        settings: Images, GPUs and what the cluster wants.
        manifest_namespace: Given, Kubernetes manifests for that namespace are written in place of
            the pipeline's YAML.

    Returns:
        The YAML file written, `<out>/<name>.yaml`.

    Raises:
        InputError: If nothing can be written into the folder.
    """
    from kfp import compiler

    module, function = PIPELINES[name]
    pipeline = getattr(importlib.import_module(module), function)(settings)
    file = out / f"{name}.yaml"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as folder:
            draft = Path(folder) / file.name
            compiler.Compiler().compile(pipeline, str(draft))
            if manifest_namespace:
                named = manifest_options(name, draft.read_bytes(), manifest_namespace)
                compiler.Compiler().compile(
                    pipeline,
                    str(draft),
                    kubernetes_manifest_format=True,
                    kubernetes_manifest_options=named,
                )
            os.replace(draft, file)
    except OSError as error:
        raise InputError("--out", str(error), "a folder to write into") from error
    return file


def main(
    pipeline: Annotated[str, typer.Option(help="Pipeline to compile; see --list")] = "",
    all_pipelines: Annotated[bool, typer.Option("--all", help="Compile every pipeline")] = False,
    list_pipelines: Annotated[bool, typer.Option("--list", help="List the pipelines")] = False,
    out: Annotated[Path, typer.Option(help="Folder the YAML is written into")] = Path("build"),
    registry: Annotated[str, typer.Option(help="Registry and path of the images")] = "",
    tag: Annotated[str, typer.Option(help="Immutable tag, or sha256: digest")] = "",
    gpus: Annotated[int, typer.Option(help="GPUs for the training step")] = 0,
    accelerator: Annotated[str, typer.Option(help="Resource name of a GPU")] = _NVIDIA,
    node_selector: Annotated[
        list[str] | None, typer.Option(help="key=value label of every step's node; repeatable")
    ] = None,
    train_node_selector: Annotated[
        list[str] | None, typer.Option(help="The same, for the training step only")
    ] = None,
    toleration: Annotated[
        list[str] | None,
        typer.Option(help="key[=value][:effect] that every step tolerates; repeatable"),
    ] = None,
    train_toleration: Annotated[
        list[str] | None, typer.Option(help="The same, for the training step only")
    ] = None,
    gcs_key_secret: Annotated[
        str, typer.Option(help="Secret with a Google key as key.json; none: workload identity")
    ] = "",
    signing_key_secret: Annotated[
        str, typer.Option(help="Secret with private.pem, to sign published models with")
    ] = "",
    public_key_secret: Annotated[
        str, typer.Option(help="Secret with public.pem, to read only published models signed by it")
    ] = "",
    notify_url_secret: Annotated[
        str, typer.Option(help="Secret with url, a webhook that is told how a run ended")
    ] = "",
    image_pull_secret: Annotated[
        list[str] | None, typer.Option(help="Secret of the registry; repeatable")
    ] = None,
    step_timeout: Annotated[
        list[str] | None, typer.Option(help="step=seconds that a step's pod may live; repeatable")
    ] = None,
    run_timeout: Annotated[int | None, typer.Option(help="Seconds that a run may take")] = None,
    ttl: Annotated[
        int | None, typer.Option(help="Seconds that a finished run's Workflow is kept")
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Let KFP reuse an equal earlier preprocess and train")
    ] = True,
    workspace_size: Annotated[
        str, typer.Option(help="Size of a volume for checkpoints, such as 20Gi; none: no volume")
    ] = "",
    workspace_class: Annotated[str, typer.Option(help="Storage class of that volume")] = "",
    manifest_namespace: Annotated[
        str, typer.Option(help="Write Pipeline and PipelineVersion manifests for this namespace")
    ] = "",
) -> None:
    """Compile Shopflow's pipelines to YAML, to upload in the Kubeflow UI or submit by the SDK.

    The service account of a run is chosen when the run is made, not here.
    """
    if list_pipelines:
        for name in PIPELINES:
            print(name)
        return
    names = list(PIPELINES) if all_pipelines else [pipeline]
    if names == [""]:
        raise InputError("command line", "no pipeline", "--pipeline NAME, --all or --list")
    for name in names:
        check_pipeline(name)
    if manifest_namespace and not _NAMESPACE.fullmatch(manifest_namespace):
        raise InputError("--manifest-namespace", repr(manifest_namespace), "a Kubernetes namespace")
    if gpus < 0:
        raise InputError("--gpus", str(gpus), "a number ≥ 0")
    if not _RESOURCE.fullmatch(accelerator):
        raise InputError("--accelerator", repr(accelerator), f"a resource such as {_NVIDIA}")
    if accelerator != _NVIDIA and not gpus:
        raise InputError("--accelerator", "no --gpus", "how many of them")
    from pipelines.cluster_settings import (
        ClusterSettings,
        read_labels,
        read_timeouts,
        read_tolerations,
    )
    from pipelines.step_settings import PipelineSettings

    settings = PipelineSettings(
        pipeline_image=image_reference(registry, "shopflow-pipeline", tag),
        train_image=image_reference(
            registry, "shopflow-train-gpu" if gpus else "shopflow-pipeline", tag
        ),
        gpus=gpus,
        accelerator=accelerator,
        cluster=ClusterSettings(
            node_selector=read_labels("--node-selector", node_selector or []),
            train_node_selector=read_labels("--train-node-selector", train_node_selector or []),
            tolerations=read_tolerations("--toleration", toleration or []),
            train_tolerations=read_tolerations("--train-toleration", train_toleration or []),
            gcs_key_secret=gcs_key_secret,
            signing_key_secret=signing_key_secret,
            public_key_secret=public_key_secret,
            notify_url_secret=notify_url_secret,
            image_pull_secrets=tuple(image_pull_secret or []),
            timeouts_s=read_timeouts("--step-timeout", step_timeout or []),
            run_timeout_s=run_timeout,
            ttl_s=ttl,
            cache=cache,
            workspace_size=workspace_size,
            workspace_class=workspace_class,
        ),
    )
    for name in names:
        print(compile_pipeline(name, out, settings, manifest_namespace=manifest_namespace))


if __name__ == "__main__":
    run_step(main)
