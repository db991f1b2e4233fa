"""How KServe runs a service: Knative or Standard, by what the cluster reports."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from serving.platform.cluster import JSON, ApiError, Cluster, path
from serving.platform.interface import PlatformError
from serving.platform.release_record import KnownRevision, ReleaseRecord

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
Mode = Literal["Knative", "Standard"]
# The names before KServe 0.16, which its configuration still ships with.
_NAMES: dict[str, Mode] = {
    "Knative": "Knative",
    "Serverless": "Knative",
    "Standard": "Standard",
    "RawDeployment": "Standard",
}


@dataclass(frozen=True)
class KServeConfig:
    """What KServe's ConfigMap `inferenceservice-config` says; None where it may not be read.

    Attributes:
        default_mode: `deploy.defaultDeploymentMode`.
        gateway_api: Whether routes are made for Gateway API (`ingress.enableGatewayApi`).
        routes: Whether Standard mode makes routes at all.
    """

    default_mode: str | None = None
    gateway_api: bool | None = None
    routes: bool | None = None


@dataclass(frozen=True)
class ObservedRevision:
    """What the cluster says about one revision.

    Attributes:
        digest: Digest of the predictor it runs; empty when Shopflow did not deploy it.
        ready: Whether it answers requests.
        reason: Why not.
        url: Base URL that reaches this revision alone; empty while there is none.
        failed: Whether the cluster has given up on it.
    """

    digest: str = ""
    ready: bool = False
    reason: str = ""
    url: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Observed:
    """What the cluster says about a service.

    Attributes:
        split: Percentage of the users by revision name; only those above zero.
        revisions: Revisions by name.
        weighted: Whether the route lists more than one revision, so that it can split.
        settled: Whether a gateway has obeyed the route's newest version.
    """

    split: Mapping[str, int] = field(default_factory=dict)
    revisions: Mapping[str, ObservedRevision] = field(default_factory=dict)
    weighted: bool = False
    settled: bool = True


class TrafficMode(Protocol):
    """What differs between KServe's two modes."""

    mode: Mode
    # A label that keeps a service from everybody outside the cluster, and its value.
    hidden: tuple[str, str]

    def stamp(self, template: Mapping[str, Any]) -> JSON:
        """Return the predictor with what makes its revision recognisable."""
        ...

    def check(self, record: ReleaseRecord) -> None:
        """Refuse what KServe would not do in this mode, before anything changes."""
        ...

    def spec(self, record: ReleaseRecord, percent: int) -> JSON:
        """Return the predictor and canaries that give the candidate this share."""
        ...

    def revision_name(self, live: Mapping[str, Any], known: KnownRevision) -> str:
        """Return the name of the revision that runs a predictor; empty while there is none."""
        ...

    def observe(self, live: Mapping[str, Any], *names: str) -> Observed:
        """Return what the cluster says about the service and the revisions named."""
        ...


def read_config(cluster: Cluster, *, namespace: str = "kserve") -> KServeConfig:
    """Return KServe's configuration, with None for what may not be read.

    Args:
        cluster: Where KServe runs.
        namespace: Namespace of KServe's controller.
    """
    try:
        found = cluster.get(path("v1", "configmaps", namespace, "inferenceservice-config"))
    except ApiError as error:
        if error.status != 403:
            raise
        found = None
    return parse_config((found or {}).get("data") or {})


def parse_config(data: Mapping[str, str]) -> KServeConfig:
    """Return what the ConfigMap's entries say.

    Raises:
        PlatformError: If an entry is no JSON object.
    """
    sections = {}
    for name in ("deploy", "ingress"):
        try:
            sections[name] = json.loads(data[name]) if name in data else None
        except ValueError as error:
            raise PlatformError(
                f"inferenceservice-config: found {name} {data[name]!r}, expected JSON"
            ) from error
    deploy, ingress = sections["deploy"], sections["ingress"]
    return KServeConfig(
        default_mode=None if deploy is None else deploy.get("defaultDeploymentMode") or "Standard",
        gateway_api=None if ingress is None else bool(ingress.get("enableGatewayApi")),
        routes=None if ingress is None else _makes_routes(ingress),
    )


def _makes_routes(ingress: Mapping[str, Any]) -> bool:
    local = ingress.get("ingressDomain") == "svc.cluster.local"
    return not local and not ingress.get("disableIngressCreation")


def deployment_mode(
    live: Mapping[str, Any] | None, annotations: Mapping[str, str], kserve: KServeConfig
) -> Mode:
    """Return the mode KServe runs, or will run, a service in.

    KServe's own order: what the status records, then the annotation, then the default.

    Args:
        live: The InferenceService; None before it exists.
        annotations: Annotations it has or will have.
        kserve: KServe's configuration.

    Raises:
        PlatformError: If the mode cannot be told, or is one without revisions.
    """
    reported = (
        ((live or {}).get("status") or {}).get("deploymentMode")
        or annotations.get(MODE_ANNOTATION)
        or kserve.default_mode
    )
    if reported is None:
        raise PlatformError(
            "deployment mode: found neither a status, the annotation "
            f"{MODE_ANNOTATION}, nor a readable inferenceservice-config, expected one of them"
        )
    if reported not in _NAMES:
        raise PlatformError(f"deployment mode: found {reported!r}, expected Knative or Standard")
    return _NAMES[reported]
