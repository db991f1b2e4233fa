"""The notify step's KFP interface: an exit handler."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def notify(
    status: dsl.PipelineTaskFinalStatus,
    run_id: str,
    pipeline: str,
    service: str,
    notice: dsl.Output[dsl.Artifact],
    platform: str = "local",
    namespace: str = "default",
    url: str = "",
    successes: bool = True,
    link: str = "",
) -> None:
    """Report how the run ended, and delete the temporary services it left behind.

    Args:
        status: KFP's word on what the exit handler stands around.
        run_id: The run.
        pipeline: Name of the pipeline.
        service: Name of the InferenceService it releases to.
        notice: What is told, and whether it was, as JSON.
        platform: Inference platform; see the deploy step.
        namespace: Namespace of the service.
        url: Webhook that is no secret; empty: the one in SHOPFLOW_NOTIFY_URL, if any.
        successes: Whether it is told of runs that succeeded, too.
        link: Address of a run in the UI, with {run_id} in it.
    """
    from pathlib import Path

    from components.notify.ending import read_state
    from components.notify.notify import EndedRun, Receiver
    from components.notify.notify import notify as run

    task = Path(notice.path).parent
    ended = EndedRun(
        run_id=run_id,
        pipeline=pipeline,
        service=service,
        platform=platform,
        namespace=namespace,
        told=read_state(status.state),
        folder=task.parent,
        own_task=task.name,
        link=link,
    )
    receiver = Receiver.given(url, only_failures=not successes)
    run(ended, receiver, notice_path=Path(notice.path))
