"""Recurring runs: one of each name, whatever is asked for how often."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from components.errors import InputError
from pipelines.client.connection import Kubeflow, named
from pipelines.client.runs import experiment_id, what_to_run
from pipelines.client.versions import Version

Change = Literal["created", "replaced", "unchanged"]


@dataclasses.dataclass(frozen=True)
class When:
    """When a recurring run runs; one of the first two.

    Attributes:
        cron: Six fields, seconds first, as `kubeflow_cron` returns; "" for an interval.
        every_s: Seconds between two runs; 0 for a cron expression.
        catch_up: Whether missed runs are made up for.
        max_concurrency: How many of its runs may go on at the same time, 1 to 10.
    """

    cron: str = ""
    every_s: int = 0
    catch_up: bool = False
    max_concurrency: int = 1


def schedule(
    kubeflow: Kubeflow,
    version: Version,
    parameters: Mapping[str, Any],
    when: When,
    *,
    name: str,
    experiment: str,
    pipeline_root: str = "",
    service_account: str = "",
) -> Change:
    """Leave exactly one recurring run of that name, with this version, parameters and time.

    KFP cannot change a recurring run: a new one is made, then the old ones are deleted. Where that
    is cut off in between, the next call takes away what is too much. One that somebody has stopped
    stays stopped.

    Args:
        kubeflow: The server.
        version: What to run.
        parameters: Checked parameters by name.
        when: When it runs.
        name: Its name in the UI, by which it is found again.
        experiment: Name of its runs' experiment.
        pipeline_root: Where artifacts go; "" is the server's default.
        service_account: Of its pods; "" is the server's default.
    """
    import kfp_server_api

    old = find(kubeflow, name)
    running = not old or any(is_running(one) for one in old)
    modes = kfp_server_api.RecurringRunMode
    wanted = kfp_server_api.V2beta1RecurringRun(
        display_name=name,
        experiment_id=experiment_id(kubeflow, experiment),
        mode=modes.ENABLE if running else modes.DISABLE,
        trigger=_trigger(when),
        no_catchup=not when.catch_up,
        max_concurrency=str(when.max_concurrency),
        service_account=service_account or None,
        **what_to_run(version, parameters, pipeline_root=pipeline_root),
    )
    kept = next((one for one in old if _same(one, wanted)), None)
    if kept is None:
        create = kubeflow.client.recurring_runs.recurring_run_service_create_recurring_run
        kubeflow.call(create, recurring_run=wanted)
    elif running and not is_running(kept):
        start(kubeflow, kept)
    for one in old:
        if one is not kept:
            delete(kubeflow, one)
    return "unchanged" if kept else "replaced" if old else "created"


def find(kubeflow: Kubeflow, name: str = "") -> list[Any]:
    """Return the recurring runs of that name, or all; in every experiment of the namespace."""
    service = kubeflow.client.recurring_runs.recurring_run_service_list_recurring_runs
    only = {"filter": named(name)} if name else {}
    return list(kubeflow.listed(service, "recurring_runs", namespace=kubeflow.namespace, **only))


def existing(kubeflow: Kubeflow, name: str) -> list[Any]:
    """Return the recurring runs of that name.

    Raises:
        InputError: If there is none.
    """
    if not (found := find(kubeflow, name)):
        raise InputError("schedule", f"none named {name!r}", "one that `schedule list` shows")
    return found


def is_running(recurring: Any) -> bool:
    """Return whether a recurring run starts runs, or has been stopped."""
    return bool(recurring.mode == "ENABLE")


def word(recurring: Any) -> str:
    """Return its state in a word."""
    return "running" if is_running(recurring) else "stopped"


def state(kubeflow: Kubeflow, name: str) -> str:
    """Return the state of the recurring run of that name in a word."""
    return word(existing(kubeflow, name)[0])


def start(kubeflow: Kubeflow, recurring: Any) -> None:
    """Let a recurring run start runs."""
    _change(kubeflow, "enable", recurring)


def stop(kubeflow: Kubeflow, recurring: Any) -> None:
    """Keep a recurring run from starting runs; those that go on are left alone."""
    _change(kubeflow, "disable", recurring)


def delete(kubeflow: Kubeflow, recurring: Any) -> None:
    """Delete a recurring run; its runs stay."""
    _change(kubeflow, "delete", recurring)


def _change(kubeflow: Kubeflow, verb: str, recurring: Any) -> None:
    name = f"recurring_run_service_{verb}_recurring_run"
    kubeflow.call(
        getattr(kubeflow.client.recurring_runs, name), recurring_run_id=recurring.recurring_run_id
    )


def _trigger(when: When) -> Any:
    import kfp_server_api

    if when.cron:
        cron = kfp_server_api.V2beta1CronSchedule(cron=when.cron)
        return kfp_server_api.V2beta1Trigger(cron_schedule=cron)
    periodic = kfp_server_api.V2beta1PeriodicSchedule(interval_second=str(when.every_s))
    return kfp_server_api.V2beta1Trigger(periodic_schedule=periodic)


def _same(old: Any, wanted: Any) -> bool:
    """Return whether a recurring run is what is wanted; without an account, the server has one."""
    account = wanted.service_account
    return _essence(old) == _essence(wanted) and account in (None, old.service_account)


def _essence(recurring: Any) -> tuple[Any, ...]:
    """Return what makes two recurring runs the same, for comparison."""
    trigger, config = recurring.trigger, recurring.runtime_config
    reference = recurring.pipeline_version_reference
    return (
        recurring.experiment_id,
        trigger.to_dict() if trigger else None,
        bool(recurring.no_catchup),
        str(recurring.max_concurrency),
        reference.pipeline_version_id if reference else None,
        (config.parameters if config else None) or {},
        (config.pipeline_root if config else None) or "",
    )
