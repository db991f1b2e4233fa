"""From a published package to a canary that is ready, tried, and still without users."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.deploy.inference_service import build_inference_service
from components.deploy.infrastructure_check import check_infrastructure
from components.deploy.package import VerifiedPackage, verify_package
from components.deploy.settings import DeploySettings
from components.deploy.smoke_test import SmokeTestFailed, try_canary
from components.errors import InputError
from components.keys import given_key
from components.release import Release
from serving.platform import (
    InferencePlatform,
    PlatformError,
    Provenance,
    RolloutRunning,
    ServiceStatus,
    connect,
)
from serving.signature import PUBLIC_KEY

_log = logging.getLogger(__name__)
_BUSY_POLL_S = 5.0


def deploy(
    *,
    package_uri: str,
    service: str,
    platform: str,
    namespace: str,
    settings: DeploySettings,
    release_path: Path,
    run_id: str = "",
) -> Release:
    """Deploy a package as the canary of a service, at 0 % of the traffic.

    Safe to repeat: a package that is stable already is left alone, a canary someone left behind
    is replaced.

    Args:
        package_uri: One published version, a folder or gs:// URI.
        service: Name of the InferenceService.
        platform: See `serving.platform.connect`.
        namespace: Namespace of the service.
        settings: How the package is served.
        release_path: File to write the release to.
        run_id: The pipeline run this is part of; "" for none.

    Raises:
        InputError: If the package may not be deployed, in which case the platform was not asked
            for anything; if the candidate fails on servers of its own, in which case the service
            was not touched; or if it does not start or answers badly as the canary, in which case
            it has been taken away again; or if another rollout of the service is running.
    """
    if "://" not in package_uri:
        package_uri = str(Path(package_uri).expanduser().resolve())  # servers have their own cwd
    package = verify_package(package_uri, public_keys=given_key(PUBLIC_KEY))
    try:
        inference_platform = connect(platform, namespace=namespace)
        resource = build_inference_service(
            service=service, namespace=namespace, package_uri=package_uri, settings=settings
        )
        status = _deploy_when_free(
            inference_platform, package, candidate=resource, settings=settings, run_id=run_id
        )
    except PlatformError as error:
        raise InputError(service, str(error), "a platform that deploys it") from error
    candidate = status.canary or status.stable
    if candidate is None or status.url is None:
        raise InputError(service, f"{status}", "a candidate or a stable revision")
    release = Release(
        service=service,
        platform=platform,
        namespace=namespace,
        stable_revision=status.stable.name if status.stable else None,
        candidate_revision=candidate.name,
        url=status.url,
        package_uri=package_uri,
        version=package.version,
        model_sha256=package.model_sha256,
        unchanged=status.canary is None,
    )
    release.write(release_path)
    _log.info(
        "deploy: %s version %d is %s of %s, %d golden requests answered",
        package.name,
        package.version,
        "already stable" if release.unchanged else f"candidate {candidate.name}",
        service,
        0 if release.unchanged else len(package.golden_requests),
    )
    return release


def _deploy_when_free(
    platform: InferencePlatform,
    package: VerifiedPackage,
    *,
    candidate: Mapping[str, Any],
    settings: DeploySettings,
    run_id: str,
) -> ServiceStatus:
    """Try the candidate on its own, then as the canary, once no other rollout is running.

    Raises:
        RolloutRunning: If another one is running still after `wait_for_rollout_s`.
    """
    deadline = time.monotonic() + settings.wait_for_rollout_s
    while True:
        try:
            if settings.infrastructure_check:
                check_infrastructure(
                    platform, package, candidate=candidate, settings=settings, run_id=run_id
                )
            return _put_on_trial(
                platform, package, candidate=candidate, settings=settings, run_id=run_id
            )
        except RolloutRunning as running:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise
            _log.info("deploy: %s; waiting for at most %.0f s more", running, left_s)
            time.sleep(min(_BUSY_POLL_S, left_s))


def _put_on_trial(
    platform: InferencePlatform,
    package: VerifiedPackage,
    *,
    candidate: Mapping[str, Any],
    settings: DeploySettings,
    run_id: str,
) -> ServiceStatus:
    """Make the candidate the canary and try it; one that fails is taken away again."""
    service = candidate["metadata"]["name"]
    try:
        status = platform.deploy(
            candidate,
            timeout_s=settings.ready_timeout_s,
            provenance=Provenance(
                package.version, package.run, package.model_sha256, deployed_by=run_id
            ),
        )
        try_canary(platform, status, package=package, settings=settings)
    except RolloutRunning:
        raise
    except (PlatformError, SmokeTestFailed) as error:
        canary = platform.status(service).canary
        # Another one is on trial when this one was refused; it is none of our business.
        if canary is not None and canary.storage_uri == package.uri:
            platform.roll_back(service, reason=str(error))
        raise InputError(service, f"a candidate that failed: {error}", "a healthy one") from error
    return status
