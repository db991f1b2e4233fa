"""Reading the InferenceService resource (serving.kserve.io/v1beta1)."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.platform.interface import PlatformError

API_VERSION = "serving.kserve.io/v1beta1"
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DEFAULT_PROBE = "/v2/health/ready"


@dataclass(frozen=True)
class ServerTemplate:
    """What one server process is made of.

    Attributes:
        storage_uri: Folder or gs:// URI of the model package; empty for a custom server without.
        command: Program of a custom server, empty for Shopflow's predictor.
        args: Arguments after the program; `$(NAME)` stands for an environment variable.
        env: Additional environment.
        probe_path: Path that answers 200 once the server is ready.
        timeout_s: How long one request may take.
    """

    storage_uri: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    probe_path: str
    timeout_s: float


def check_name(name: str, what: str) -> str:
    """Return the name if Kubernetes would accept it.

    Raises:
        PlatformError: If it is not an RFC 1123 label.
    """
    if not _DNS_LABEL.fullmatch(name):
        raise PlatformError(
            f"{what}: found {name!r}, expected lower-case letters, digits and '-', at most 63"
        )
    return name


def service_name(resource: Mapping[str, Any]) -> str:
    """Return the service's name after checking what every InferenceService has.

    Raises:
        PlatformError: If it is another kind of resource, or has no predictor that can be run.
    """
    found = (resource.get("apiVersion"), resource.get("kind"))
    if found != (API_VERSION, "InferenceService"):
        raise PlatformError(f"resource: found {found}, expected ({API_VERSION}, InferenceService)")
    name = check_name(str(resource.get("metadata", {}).get("name", "")), "metadata.name")
    read_template(predictor_template(resource))
    if others := sorted(set(resource["spec"]) - {"predictor"}):
        raise PlatformError(f"spec.{others[0]}: found one, expected none on this machine")
    return name


def predictor_template(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predictor without its traffic split: what makes a revision different."""
    predictor = resource.get("spec", {}).get("predictor")
    if not isinstance(predictor, Mapping):
        raise PlatformError("spec.predictor: found nothing, expected a mapping")
    return {key: value for key, value in predictor.items() if key != "canaryTrafficPercent"}


def canary_percent(resource: Mapping[str, Any]) -> int | None:
    """Return the canary's share of the traffic, None when the newest revision takes all of it."""
    percent = resource["spec"]["predictor"].get("canaryTrafficPercent")
    if percent is None:
        return None
    return check_percent(percent)


def check_percent(percent: object) -> int:
    """Return the percentage if it is a whole number from 0 to 100.

    Raises:
        PlatformError: If it is not.
    """
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
        raise PlatformError(f"canaryTrafficPercent: found {percent!r}, expected 0 to 100")
    return percent


def read_template(template: Mapping[str, Any]) -> ServerTemplate:
    """Read a predictor: either a `model` for Shopflow's server, or `containers[0]`.

    Raises:
        PlatformError: If it has neither, or the fields that are needed are missing.
    """
    timeout_s = float(template.get("timeout", 60))
    if model := template.get("model"):
        uri = model.get("storageUri")
        model_format = model.get("modelFormat", {}).get("name")
        if model_format != "shopflow":
            raise PlatformError(
                f"model.modelFormat.name: found {model_format!r}, expected shopflow"
            )
        if not uri:
            raise PlatformError("model.storageUri: found nothing, expected a folder or gs:// URI")
        return ServerTemplate(
            uri, (), tuple(model.get("args", ())), _environment(model), _DEFAULT_PROBE, timeout_s
        )
    containers = template.get("containers") or []
    if not containers or not containers[0].get("command"):
        raise PlatformError(
            "spec.predictor: found neither, expected model or containers[0].command"
        )
    container = containers[0]
    env = _environment(container)
    probe = container.get("readinessProbe", {}).get("httpGet", {}).get("path", _DEFAULT_PROBE)
    return ServerTemplate(
        env.get("STORAGE_URI", ""),
        tuple(container["command"]),
        tuple(container.get("args", ())),
        env,
        probe,
        timeout_s,
    )


def storage_uri(template: Mapping[str, Any]) -> str:
    """Return where a predictor's model lies: of `model`, or STORAGE_URI of the container."""
    if model := template.get("model"):
        return str(model.get("storageUri", ""))
    for container in template.get("containers") or ():
        for entry in container.get("env") or ():
            if entry.get("name") == "STORAGE_URI":
                return str(entry.get("value", ""))
    return ""


def digest(template: Mapping[str, Any]) -> str:
    """Return ten hexadecimal digits that stand for a predictor."""
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    entries = container.get("env", ())
    if missing := [entry["name"] for entry in entries if "value" not in entry]:
        raise PlatformError(f"env: found {missing} without a value, which needs a cluster")
    return {entry["name"]: str(entry["value"]) for entry in entries}
