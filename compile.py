"""Pipelines → YAML that a Kubeflow Pipelines 2.17 backend accepts."""

import difflib
import importlib
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from components.cli import run_step
from components.errors import InputError

# name → (module, function that builds the pipeline from PipelineSettings)
PIPELINES = {"recommender": ("pipelines.recommender", "recommender")}

_REGISTRY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
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


def compile_pipeline(
    name: str, out: Path, *, registry: str, tag: str, gpus: int = 0, accelerator: str
) -> Path:
    """Compile one pipeline.

    Args:
        name: One of `PIPELINES`.
        out: Folder to write into.
        registry: Registry and path of the images.
        tag: Their tag or digest.
        gpus: GPUs of the training step.
        accelerator: Resource name of a GPU.

    Returns:
        The YAML file written, `<out>/<name>.yaml`.

    Raises:
        InputError: For a name there is no pipeline of, and for a bad registry, tag or count.
    """
    if name not in PIPELINES:
        close = difflib.get_close_matches(name, PIPELINES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError("--pipeline", repr(name), f"one of {', '.join(PIPELINES)}{hint}")
    if gpus < 0:
        raise InputError("--gpus", str(gpus), "a number ≥ 0")
    from kfp import compiler

    from pipelines.step_settings import PipelineSettings

    settings = PipelineSettings(
        pipeline_image=image_reference(registry, "shopflow-pipeline", tag),
        train_image=image_reference(
            registry, "shopflow-train-gpu" if gpus else "shopflow-pipeline", tag
        ),
        gpus=gpus,
        accelerator=accelerator,
    )
    module, function = PIPELINES[name]
    pipeline = getattr(importlib.import_module(module), function)(settings)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.yaml"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        draft = Path(folder) / file.name
        compiler.Compiler().compile(pipeline, str(draft))
        os.replace(draft, file)
    return file


def main(
    pipeline: Annotated[str, typer.Option(help="Pipeline to compile; see --list")] = "",
    all_pipelines: Annotated[bool, typer.Option("--all", help="Compile every pipeline")] = False,
    list_pipelines: Annotated[bool, typer.Option("--list", help="List the pipelines")] = False,
    out: Annotated[Path, typer.Option(help="Folder the YAML is written into")] = Path("build"),
    registry: Annotated[str, typer.Option(help="Registry and path of the images")] = "",
    tag: Annotated[str, typer.Option(help="Immutable tag, or sha256: digest")] = "",
    gpus: Annotated[int, typer.Option(help="GPUs for the training step")] = 0,
    accelerator: Annotated[str, typer.Option(help="Resource name of a GPU")] = "nvidia.com/gpu",
) -> None:
    """Compile Shopflow's pipelines to YAML, to upload in the Kubeflow UI or submit by the SDK."""
    if list_pipelines:
        for name in PIPELINES:
            print(name)
        return
    names = list(PIPELINES) if all_pipelines else [pipeline]
    if names == [""]:
        raise InputError("command line", "no pipeline", "--pipeline NAME, --all or --list")
    for name in names:
        print(
            compile_pipeline(
                name, out, registry=registry, tag=tag, gpus=gpus, accelerator=accelerator
            )
        )


if __name__ == "__main__":
    run_step(main)
