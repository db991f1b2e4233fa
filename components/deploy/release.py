"""What a deployment hands to the rollout."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """A candidate that waits for its users.

    Attributes:
        service: Name of the service.
        platform: Platform it was deployed on, as the pipeline names it.
        namespace: Namespace of the service.
        stable_revision: The revision that serves the users now; None on a first release.
        candidate_revision: The revision on trial; the stable one when nothing changed.
        url: Base URL of the service.
        package_uri: The package the candidate serves.
        version: Version of the package.
        model_sha256: Digest of the model in it.
        unchanged: Whether the package was stable already.
    """

    service: str
    platform: str
    namespace: str
    stable_revision: str | None
    candidate_revision: str
    url: str
    package_uri: str
    version: int
    model_sha256: str
    unchanged: bool = False

    def write(self, path: Path) -> None:
        """Write the release as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
