"""What is asked for with an InferenceService, checked before the cluster is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.platform.inference_service import API_VERSION, check_name, storage_uri
from serving.platform.interface import PlatformError

# Schemes that KServe's storage initializer reads.
_SCHEMES = ("gs", "s3", "hdfs", "webhdfs", "pvc", "hf", "oci", "https", "http")
_KSERVE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True)
class Requested:
    """A deployment that is asked for.

    Attributes:
        service: Name of the service.
        template: Its predictor without a traffic split.
        labels: Labels of the service, which belong to all its revisions.
        annotations: Annotations, likewise.
        extras: What the spec has beside the predictor.
    """

    service: str
    template: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    extras: Mapping[str, Any]


def read_request(resource: Mapping[str, Any], *, namespace: str) -> Requested:
    """Check an InferenceService and take it apart.

    Args:
        resource: A serving.kserve.io/v1beta1 InferenceService.
        namespace: Namespace it is for.

    Raises:
        PlatformError: If KServe would refuse it, or not find its model.
    """
    found = (resource.get("apiVersion"), resource.get("kind"))
    if found != (API_VERSION, "InferenceService"):
        raise PlatformError(f"resource: found {found}, expected ({API_VERSION}, InferenceService)")
    metadata = resource.get("metadata") or {}
    service = check_service(str(metadata.get("name", "")))
    if metadata.get("namespace", namespace) != namespace:
        raise PlatformError(
            f"metadata.namespace: found {metadata['namespace']!r}, expected {namespace!r}"
        )
    spec = dict(resource.get("spec") or {})
    predictor = spec.pop("predictor", None)
    if not isinstance(predictor, Mapping) or bool(predictor.get("model")) == bool(
        predictor.get("containers")
    ):
        raise PlatformError("spec.predictor: found neither or both, expected model or containers")
    if "canary" in spec:
        raise PlatformError("spec.canary: found one, expected none: the platform makes it")
    template = {key: value for key, value in predictor.items() if key != "canaryTrafficPercent"}
    check_uri(storage_uri(template))
    return Requested(
        service,
        template,
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        extras=spec,
    )


def check_service(service: str) -> str:
    """Return the name if KServe would accept it for a service.

    Raises:
        PlatformError: If it would not.
    """
    check_name(service, "metadata.name")
    if not _KSERVE_NAME.fullmatch(service):
        raise PlatformError(f"metadata.name: found {service!r}, expected a letter first")
    return service


def check_uri(uri: str) -> None:
    """Refuse a model that a pod could not fetch.

    Raises:
        PlatformError: If it is a path of this machine, or a scheme KServe does not read.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in _SCHEMES or not rest:
        raise PlatformError(f"storageUri: found {uri!r}, expected {', '.join(_SCHEMES)}://…")
