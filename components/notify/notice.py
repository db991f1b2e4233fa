"""The notice: what a receiver is told of a run's end, as documented, versioned JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from components.notify.ending import Ending

SCHEMA = "shopflow.run-ended/v1"
_MARKS = {"SUCCEEDED": "✅", "FAILED": "❌", "CANCELLED": "⏹️", "UNKNOWN": "❓"}


@dataclass(frozen=True)
class Rollout:
    """What became of the run's model.

    Attributes:
        outcome: "refused" is the gate's word; the others are the release record's.
        reason: Why.
        version: Version of the package; None where there is none.
        revision: The platform's name of what was on trial.
    """

    outcome: Literal["promoted", "rolled back", "replaced", "on trial", "refused"]
    reason: str
    version: int | None = None
    revision: str = ""


@dataclass(frozen=True)
class Notice:
    """What is reported of a run that has ended.

    Attributes:
        run_id: KFP's id of the run.
        pipeline: Name of the pipeline.
        service: The service it releases to.
        namespace: Namespace of the service.
        ending: How it ended.
        rollout: What became of its model; None when it came to none.
        deleted: Names of temporary services that were left over.
        problems: What the exit handler could not find out or do, a line each.
        links: Addresses by name.
    """

    run_id: str
    pipeline: str
    service: str
    namespace: str
    ending: Ending
    rollout: Rollout | None = None
    deleted: Sequence[str] = ()
    problems: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the body of the webhook; see README.md beside this file."""
        return {
            "schema": SCHEMA,
            "text": self.text(),
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "service": self.service,
            "namespace": self.namespace,
            **asdict(self.ending),
            "rollout": asdict(self.rollout) if self.rollout else None,
            "deleted": list(self.deleted),
            "problems": list(self.problems),
            "links": dict(self.links),
        }

    def text(self) -> str:
        """Return the notice for people, in the few signs that Slack and Mattermost have."""
        ending = self.ending
        state, where = ending.state.lower(), f"{self.namespace}/{self.service}"
        head = f"{_MARKS[ending.state]} {self.pipeline} for {where} {state}"
        if state == "unknown":
            head = f"{_MARKS[ending.state]} {self.pipeline} for {where}: nobody says how it ended"
        lines = [head + (f" at {ending.failed_step}" if ending.failed_step else "")]
        if ending.reason:
            lines.append(ending.reason)
        if self.rollout and self.rollout.outcome != "refused":
            number = "" if self.rollout.version is None else f"version {self.rollout.version} "
            lines.append(f"{number}{self.rollout.outcome}: {self.rollout.reason}".rstrip(": "))
        lines += [f"deleted temporary service {name}" for name in self.deleted]
        lines += self.problems
        lines += [f"{name}: {link}" for name, link in self.links.items()]
        lines.append(f"run {self.run_id}")
        return _plain("\n".join(lines))


def _plain(text: str) -> str:
    """Return a text that Slack shows as it is: "<!channel>" in an error calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
