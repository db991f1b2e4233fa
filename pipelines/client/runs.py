"""Runs on a server: started, followed step by step, listed."""

import dataclasses
import datetime
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.client.connection import Kubeflow, ServerError, named
from pipelines.client.logs import failure_of
from pipelines.client.versions import Version

DONE = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
_LOST_ANSWERS = 5
_NO_STEP = re.compile(
    r"root|.+-driver|executor(\(\d+\))?|(condition|condition-branches|for-loop|exit-handler)-\d+(\.onExit)?"
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a run, as the server last reported it.

    Attributes:
        name: The task's name in the pipeline.
        state: KFP's name of its state, such as RUNNING.
        seconds: How long it took; None before it ended.
    """

    name: str
    state: str
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: SUCCEEDED, FAILED, CANCELED or SKIPPED.
        failed_step: The step that failed, "" without one.
        reason: Why it failed, "" when the server does not say.
    """

    state: str
    failed_step: str
    reason: str


def experiment_id(kubeflow: Kubeflow, name: str) -> str:
    """Return the id of the experiment with that name, made now if there is none."""
    import kfp_server_api

    experiments = kubeflow.client.experiments
    for found in kubeflow.listed(
        experiments.experiment_service_list_experiments,
        "experiments",
        namespace=kubeflow.namespace,
        filter=named(name),
    ):
        return str(found.experiment_id)
    new = kfp_server_api.V2beta1Experiment(display_name=name, namespace=kubeflow.namespace)
    create = experiments.experiment_service_create_experiment
    return str(kubeflow.call(create, experiment=new).experiment_id)


def start(
    kubeflow: Kubeflow,
    version: Version,
    parameters: Mapping[str, Any],
    *,
    name: str,
    experiment: str,
    pipeline_root: str = "",
    service_account: str = "",
) -> str:
    """Start a run of an uploaded version.

    Args:
        kubeflow: The server.
        version: What to run.
        parameters: Checked parameters by name.
        name: Name of the run in the UI.
        experiment: Name of its experiment.
        pipeline_root: Where its artifacts go; "" is the server's default.
        service_account: Of its pods; "" is the server's default.

    Returns:
        The run's id.
    """
    import kfp_server_api

    run = kfp_server_api.V2beta1Run(
        display_name=name,
        experiment_id=experiment_id(kubeflow, experiment),
        service_account=service_account or None,
        **what_to_run(version, parameters, pipeline_root=pipeline_root),
    )
    return str(kubeflow.call(kubeflow.client.runs.run_service_create_run, run=run).run_id)


def what_to_run(
    version: Version, parameters: Mapping[str, Any], *, pipeline_root: str
) -> dict[str, Any]:
    """Return the part that a run and a recurring run have in common, as model classes."""
    import kfp_server_api

    return {
        "pipeline_version_reference": kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
        ),
        "runtime_config": kfp_server_api.V2beta1RuntimeConfig(
            parameters=dict(parameters), pipeline_root=pipeline_root or None
        ),
    }


def follow(
    kubeflow: Kubeflow, run_id: str, *, poll_s: float, report: Callable[[Step], None]
) -> Outcome:
    """Wait until a run has ended.

    Args:
        kubeflow: The server.
        run_id: The run.
        poll_s: Seconds between two looks.
        report: Told of every change of a step's state.

    Raises:
        ServerError: If the server does not answer several times in a row, or refuses.
    """
    seen: dict[str, str] = {}
    while True:
        run = _look(kubeflow, run_id, poll_s)
        for step in steps_of(run):
            if seen.get(step.name) != step.state:
                seen[step.name] = step.state
                report(step)
        if run.state in DONE:
            break
        time.sleep(poll_s)
    if run.state == "SUCCEEDED":
        return Outcome(run.state, "", "")
    failed, reason = failure_of(kubeflow, run_id)
    failed = failed or next((step.name for step in steps_of(run) if step.state == "FAILED"), "")
    return Outcome(run.state, failed, reason or (run.error.message if run.error else "") or "")


def _look(kubeflow: Kubeflow, run_id: str, poll_s: float) -> Any:
    """Return the run; a server that restarts is asked again."""
    for left in reversed(range(_LOST_ANSWERS)):
        try:
            return kubeflow.call(kubeflow.client.runs.run_service_get_run, run_id=run_id)
        except ServerError as error:
            if not left or 0 < error.status < 500:
                raise
        time.sleep(poll_s)
    raise AssertionError("the last attempt returns or raises")


def steps_of(run: Any) -> Iterator[Step]:
    """Yield the steps of a run that its pipeline names, in the order they started.

    The server lists Argo's nodes: each task has a driver beside it and an executor below it, and
    conditions, loops and the workflow are nodes, too.
    """
    tasks = (run.run_details.task_details if run.run_details else None) or ()
    for task in sorted(tasks, key=lambda task: (task.start_time, task.display_name)):
        # A child is named by the workflow's name and a number.
        children = {child.pod_name.rpartition("-")[0] for child in task.child_tasks or ()}
        if _NO_STEP.fullmatch(task.display_name) or task.display_name in children:
            continue
        ended = task.state in DONE and task.end_time > task.start_time
        seconds = (task.end_time - task.start_time).total_seconds() if ended else None
        yield Step(task.display_name, task.state, seconds)


def listed(kubeflow: Kubeflow, *, limit: int) -> list[Any]:
    """Return the newest runs, newest first, at most `limit`."""
    runs = kubeflow.listed(
        kubeflow.client.runs.run_service_list_runs,
        "runs",
        namespace=kubeflow.namespace,
        sort_by="created_at desc",
    )
    return [run for run, _ in zip(runs, range(limit), strict=False)]


def seconds_of(run: Any) -> float | None:
    """Return how long a run took, None while it goes on."""
    if run.state not in DONE or run.finished_at is None:
        return None
    took: datetime.timedelta = run.finished_at - run.created_at
    return took.total_seconds()
