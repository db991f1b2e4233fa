"""Trying a candidate on servers of its own, before the service it is for is touched."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components.deploy.inference_service import build_inference_service
from components.deploy.package import VerifiedPackage
from components.deploy.settings import DeploySettings
from components.deploy.smoke_test import SmokeTestFailed, try_canary
from components.errors import InputError
from components.termination import exiting_on_sigterm
from serving.platform import (
    RUN,
    InferencePlatform,
    PlatformError,
    RolloutRunning,
    temporary_name,
)

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def check_infrastructure(
    platform: InferencePlatform,
    package: VerifiedPackage,
    *,
    candidate: Mapping[str, Any],
    settings: DeploySettings,
    run_id: str = "",
) -> None:
    """Start the candidate as a temporary InferenceService, replay its golden requests, delete it.

    Does nothing when the candidate is stable already.

    Args:
        platform: Where the service runs.
        package: What is to be deployed.
        candidate: The InferenceService that is to be deployed.
        settings: How it is served.
        run_id: The pipeline run this is for, whose exit handler may delete it; "" for none.

    Raises:
        InputError: If it does not start, answers badly, or is not gone afterwards. The service was
            not touched.
        RolloutRunning: If another rollout of the service is running.
    """
    metadata = candidate["metadata"]
    service = metadata["name"]
    name = temporary_name(service, mark=secrets.token_hex(3))
    alone = build_inference_service(
        service=name,
        namespace=metadata["namespace"],
        package_uri=package.uri,
        settings=on_its_own(settings),
    )
    if _LABEL.fullmatch(run_id):
        alone["metadata"]["labels"] = {RUN: run_id}
    try:
        with (
            exiting_on_sigterm(),
            platform.temporary_service(
                alone,
                instead_of=candidate,
                timeout_s=settings.ready_timeout_s,
                use_s=settings.smoke_timeout_s,
            ) as status,
        ):
            if status is not None:
                try_canary(platform, status, package=package, settings=settings)
    except RolloutRunning:
        raise
    except (PlatformError, SmokeTestFailed) as error:
        raise InputError(
            service,
            f"a candidate that failed its infrastructure check: {error}",
            "a healthy one; the service was not touched",
        ) from error


def on_its_own(settings: DeploySettings) -> DeploySettings:
    """Return how a candidate is served that no user sees: the same server, once.

    Without autoscaling, and without the logger and the scraping, since requests nobody made belong
    neither into the log of the users' requests nor into their metrics.
    """
    return replace(
        settings,
        min_replicas=1,
        max_replicas=1,
        autoscaler="",
        scale_metric="",
        scale_target=None,
        keda_query="",
        keda_server="",
        keda_threshold="",
        logger_url="",
        scraped=False,
    )
