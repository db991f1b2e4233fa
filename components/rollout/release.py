"""What the rollout needs to know of a release."""

import json
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError


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
