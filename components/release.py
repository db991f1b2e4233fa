"""What a deployment hands to the steps after it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from components.errors import InputError


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


@dataclass(frozen=True)
class Candidate:
    """A revision on trial, as the deploy step's release names it.

    Attributes:
        service: Name of the service.
        platform: See `serving.platform.connect`.
        namespace: Namespace of the service.
        revision: The revision on trial.
        package_uri: The package it serves.
        version: Version of the package.
    """

    service: str
    platform: str
    namespace: str
    revision: str
    package_uri: str
    version: int


def read_candidate(release_path: Path) -> Candidate:
    """Read a release.

    Raises:
        InputError: If it is not one.
    """
    try:
        content = json.loads(release_path.read_text(encoding="utf-8"))
        return Candidate(
            service=str(content["service"]),
            platform=str(content["platform"]),
            namespace=str(content["namespace"]),
            revision=str(content["candidate_revision"]),
            package_uri=str(content["package_uri"]),
            version=int(content["version"]),
        )
    except FileNotFoundError as error:
        raise InputError(str(release_path), "no file", "the release of a deployment") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(str(release_path), repr(error), "the release of a deployment") from error
