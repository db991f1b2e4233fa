"""What happens when a run has ended: left-overs deleted, the end found out, told, and recorded."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.failure import POD, public_line
from components.notify.ending import Ending, State, ending_of_folder, ending_of_workflow
from components.notify.notice import Notice, Rollout
from components.notify.webhook import Undelivered, send
from serving.platform import NoReleases, PlatformError, connect

# Where the address comes from when it is a secret: compile.py --notify-url-secret.
NOTIFY_URL = "SHOPFLOW_NOTIFY_URL"
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_WORKFLOWS = "argoproj.io/v1alpha1"
_REFUSAL = "refuse"  # the pipeline's step that ends a run whose every attempt the gate refused
_log = logging.getLogger(__name__)


class NotTold(InputError):
    """A run failed, and the exit handler could not do its work; the notice has been written."""


@dataclass(frozen=True)
class EndedRun:
    """A run whose steps are all over.

    Attributes:
        run_id: KFP's id of it.
        pipeline: Name of the pipeline.
        service: The service it releases to.
        platform: Where that is, see `serving.platform.connect`.
        namespace: Namespace of the service.
        told: The state that KFP names.
        folder: Its folder under `kfp.local`; on a cluster there is none.
        own_task: Name of the exit handler's own folder in it.
        link: Its address in the UI, with {run_id} where the id goes; "" when not known.
    """

    run_id: str
    pipeline: str
    service: str
    platform: str
    namespace: str
    told: State
    folder: Path
    own_task: str = ""
    link: str = ""


@dataclass(frozen=True)
class Receiver:
    """Whom the notice is for.

    Attributes:
        url: The webhook; "" for none. Never shown.
        only_failures: Whether a run that succeeded is not told of.
    """

    url: str
    only_failures: bool = False

    @classmethod
    def given(cls, url: str, *, only_failures: bool) -> "Receiver":
        """Return the receiver that a parameter names, or else the environment."""
        return cls((url or os.environ.get(NOTIFY_URL, "")).strip(), only_failures)


def notify(run: EndedRun, receiver: Receiver, *, notice_path: Path) -> Notice:
    """Report how a run ended, and delete the temporary services it left behind.

    Args:
        run: The run.
        receiver: Whom to tell.
        notice_path: JSON file to write, with the notice and whether it was delivered.

    Raises:
        NotTold: If the run did not succeed, and the notice reached nobody or something is left
            behind. A run that succeeded stays one: what went wrong here is logged and written.
    """
    problems: list[str] = []
    ending = _ending(run, problems)
    notice = Notice(
        run_id=run.run_id,
        pipeline=run.pipeline,
        service=run.service,
        namespace=run.namespace,
        ending=ending,
        deleted=_deleted(run, problems),
        rollout=_rollout(run, ending, problems),
        problems=tuple(problems),
        links={"run": run.link.replace("{run_id}", run.run_id)} if run.link else {},
    )
    delivery = _tell(receiver, notice, problems)
    notice_path.parent.mkdir(parents=True, exist_ok=True)
    content = notice.as_json() | {"delivery": delivery}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    notice_path.write_text(text + "\n", encoding="utf-8")
    level = logging.ERROR if problems else logging.INFO
    said = "; ".join(dict.fromkeys((_said(notice), *problems, delivery)))
    _log.log(level, "notify: run %s %s", run.run_id, said)
    if problems and ending.state != "SUCCEEDED":
        raise NotTold(f"run {run.run_id}", "; ".join(problems), "a notice and nothing left over")
    return notice


def _tell(receiver: Receiver, notice: Notice, problems: list[str]) -> str:
    """Send the notice where it is to go; return what became of it."""
    # Whoever knows the address may post, and httpx logs the address of every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not receiver.url or (receiver.only_failures and notice.ending.state == "SUCCEEDED"):
        return "nobody is to be told"
    try:
        return f"told at attempt {send(receiver.url, notice.as_json())}"
    except Undelivered as error:
        problems.append(str(error))
        return str(error)


def _said(notice: Notice) -> str:
    ending, rollout, deleted = notice.ending, notice.rollout, notice.deleted
    at = f" at {ending.failed_step} ({ending.reason})" if ending.failed_step else ""
    model = f", version {rollout.version} {rollout.outcome}" if rollout and rollout.version else ""
    left = f", temporary services deleted: {', '.join(deleted)}" if deleted else ""
    return f"{ending.state.lower()}{at}{model}{left}"


def _ending(run: EndedRun, problems: list[str]) -> Ending:
    """Return how the run ended: in a pod of KFP's by its Argo workflow, else by its folder."""
    if not os.environ.get(POD):
        return ending_of_folder(run.folder, run.told, own=run.own_task)
    try:
        namespace = _NAMESPACE.read_text(encoding="utf-8").strip()
        return ending_on_cluster(run.run_id, run.told, namespace=namespace)
    except (PlatformError, OSError) as error:
        problems.append(public_line(f"failing step unknown: {error}"))
        return Ending(run.told)


def ending_on_cluster(run_id: str, told: State, *, namespace: str) -> Ending:
    """Return how a run on a cluster ended.

    Args:
        run_id: KFP's id of it, which its workflow has as a label.
        told: What KFP says.
        namespace: Where its workflow is.

    Raises:
        PlatformError: If there is no such workflow, or it may not be read.
    """
    from serving.platform.cluster import connect_cluster, path

    selector = f"pipeline/runid={run_id}"
    where = path(_WORKFLOWS, "workflows", namespace)
    found = connect_cluster().items(where, labelSelector=selector)
    if not found:
        raise PlatformError(f"workflow: found none in {namespace} labelled {selector}, expected it")
    return ending_of_workflow(found[0], told)


def _deleted(run: EndedRun, problems: list[str]) -> tuple[str, ...]:
    """Delete the temporary services nobody uses any more; return their names."""
    try:
        platform = connect(run.platform, namespace=run.namespace)
        found = platform.clean_up(run.service, ended_run=run.run_id)
        return tuple(one.name for one in found if one.left_over)
    except PlatformError as error:
        problems.append(public_line(str(error)))
        return ()


def _rollout(run: EndedRun, ending: Ending, problems: list[str]) -> Rollout | None:
    """Return what became of the model this run deployed, by the service's release record."""
    if ending.failed_step == _REFUSAL:
        return Rollout("refused", ending.reason)
    try:
        log = connect(run.platform, namespace=run.namespace).releases(run.service)
    except NoReleases:
        return None
    except PlatformError as error:
        problems.append(public_line(f"rollout unknown: {error}"))
        return None
    for release in reversed(log.releases):
        if release.provenance.deployed_by == run.run_id:
            why = public_line(release.decided.why) if release.decided else ""
            return Rollout(release.verdict, why, release.provenance.version, release.revision)
    return None
