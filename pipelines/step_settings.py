"""Where and with what a pipeline's steps run: images, resources, retries, caching."""

import dataclasses

from kfp import dsl

from components import images
from pipelines.cluster_settings import ClusterSettings


@dataclasses.dataclass(frozen=True)
class PipelineSettings:
    """What differs between two compilations of the same pipeline.

    Attributes:
        pipeline_image: Image of every step but training, by immutable tag or digest.
        train_image: Image of the training step.
        gpus: GPUs for training; 0 trains on the CPU.
        accelerator: Resource name of a GPU, used verbatim by KFP.
        max_retries: Upper limit of every step's retries; 0 where a person is waiting.
        cluster: Nodes, secrets, timeouts: what only a cluster wants.
    """

    pipeline_image: str = images.PIPELINE_IMAGE
    train_image: str = images.TRAIN_IMAGE
    gpus: int = 0
    accelerator: str = "nvidia.com/gpu"
    max_retries: int = 2
    cluster: ClusterSettings = ClusterSettings()


def configure(
    task: dsl.PipelineTask,
    settings: PipelineSettings,
    *,
    cpu: str,
    memory: str,
    retries: int = 0,
    cache: bool = False,
    accelerated: bool = False,
) -> None:
    """Set image, resources, retries and caching of one step, all of them on purpose.

    Args:
        task: The step.
        settings: The compilation's images and GPUs.
        cpu: CPU request and limit, in Kubernetes' notation.
        memory: Memory request and limit, likewise.
        retries: How often a failed step runs again.
        cache: Whether KFP may reuse the outputs of an equal earlier step.
        accelerated: Whether the step trains, and so gets the training image and the GPUs.
    """
    task.set_container_image(settings.train_image if accelerated else settings.pipeline_image)
    task.set_cpu_request(cpu).set_cpu_limit(cpu)
    task.set_memory_request(memory).set_memory_limit(memory)
    task.set_caching_options(enable_caching=cache and settings.cluster.cache)
    if retries := min(retries, settings.max_retries):
        task.set_retry(num_retries=retries, backoff_duration="30s", backoff_factor=2)
    if accelerated and settings.gpus:
        task.set_accelerator_type(settings.accelerator).set_accelerator_limit(settings.gpus)
    settings.cluster.apply(task, trains=accelerated)
