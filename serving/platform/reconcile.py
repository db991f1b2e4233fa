"""What should run and who gets the traffic, from what is wanted and what is ready.

The rules are those of KServe in Knative mode: a changed predictor makes a new revision; with
`canaryTrafficPercent` it takes that share and the revision rolled out last the rest; without, it
takes over as soon as it is ready. One rule is stricter: 0 % on a first deployment means 0 %, so
that a model can be tried before its first user.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Revisions:
    """The revisions of a service that exist.

    Attributes:
        created: How many have ever been made; the next one gets the number after it.
        stable: Name of the one rolled out last.
        latest: Name of the one the resource describes; equal to stable when there is no canary.
        templates: Predictor template by revision name.
    """

    created: int = 0
    stable: str | None = None
    latest: str | None = None
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def canary(self) -> str | None:
        """Name of the revision on trial."""
        return self.latest if self.latest != self.stable else None


def reconcile(
    revisions: Revisions,
    service: str,
    *,
    template: Mapping[str, Any] | None,
    percent: int | None,
    ready: Container[str],
) -> tuple[Revisions, dict[str, int]]:
    """Decide which revisions exist and how the traffic is split.

    Args:
        revisions: Those that existed before.
        service: Name of the service; new revisions are named after it.
        template: The predictor wanted; None when a first release was rolled back.
        percent: `canaryTrafficPercent` of the resource.
        ready: Names of the revisions that answer requests now.

    Returns:
        The revisions that exist from now on, and the percentage by revision name. Percentages
        add up to 100, or there are none while nobody may be served.
    """
    created, stable = revisions.created, revisions.stable
    templates = dict(revisions.templates)
    latest = None
    if template is not None:
        latest = next((name for name, known in templates.items() if known == template), None)
        if latest is None:
            created += 1
            latest = f"{service}-predictor-{created:05d}"
            templates[latest] = template
        if percent is None and latest in ready:
            stable = latest
    kept = {name: templates[name] for name in (stable, latest) if name is not None}
    return Revisions(created, stable, latest, kept), _split(stable, latest, percent)


def _split(stable: str | None, latest: str | None, percent: int | None) -> dict[str, int]:
    if stable is None:
        return {} if latest is None or percent == 0 else {latest: 100}
    if latest is None or latest == stable or percent is None:
        return {stable: 100}
    return {stable: 100 - percent, latest: percent}
