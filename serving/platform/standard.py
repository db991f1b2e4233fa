"""KServe in Standard mode: a predictor is a Deployment, `spec.canary` and the route split."""

import math
from collections.abc import Mapping
from typing import Any

from serving.platform.cluster import JSON, Cluster, path
from serving.platform.deployment_mode import Mode, Observed, ObservedRevision
from serving.platform.failure import condition, false_conditions, model_failure, pod_failure
from serving.platform.inference_service import digest
from serving.platform.interface import PlatformError
from serving.platform.release_record import DIGEST_ANNOTATION, KnownRevision, ReleaseRecord
from serving.platform.route import backends_of_ingress, is_settled, read_split
from serving.protocol.own_revision import PREDICTOR_NAME

_VISIBILITY = "networking.kserve.io/visibility"
# KServe refuses these on a canary, which has a fixed number of replicas.
_NOT_ON_A_CANARY = ("maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling")


class StandardMode:
    """A `TrafficMode`.

    Every predictor gets a name, so that its Deployment `<service>-<name>-predictor` can be a
    canary, then the stable one, and go, without a restart in between. Where the route lists the
    canaries with their weights (Gateway API, KServe after 0.20) the traffic is split. Elsewhere
    (Ingress; 0.20, which accepts canaries and gives them no traffic) stable and candidate change
    places at once, both running: blue/green.
    """

    mode: Mode = "Standard"
    # KServe makes neither HTTPRoute nor Ingress for such a service.
    hidden = (_VISIBILITY, "cluster-local")

    def __init__(self, cluster: Cluster, namespace: str, *, routes: bool = True) -> None:
        """Look at the Deployments and routes of a namespace.

        Args:
            cluster: Where they are.
            namespace: Their namespace.
            routes: Whether KServe makes routes; if not, users call the predictor's Service.
        """
        self._cluster, self._namespace, self._routes = cluster, namespace, routes

    def stamp(self, template: Mapping[str, Any]) -> JSON:
        """Return the predictor with its name and digest."""
        mark = digest(template)
        annotations = {**(template.get("annotations") or {}), DIGEST_ANNOTATION: mark}
        # The service's own visibility label reaches the pods unless they have one; then opening
        # the service would restart them.
        labels = {**(template.get("labels") or {}), _VISIBILITY: ""}
        name = f"v{mark}"
        named = {**template, "name": name, "annotations": annotations, "labels": labels}
        # A pod knows its own name only; an answer has to name the revision.
        told = {"name": PREDICTOR_NAME, "value": name}
        if "model" in named:
            named["model"] = _with_variable(named["model"], told)
        if named.get("containers"):
            first, *others = named["containers"]
            named["containers"] = [_with_variable(first, told), *others]
        return named

    def check(self, record: ReleaseRecord) -> None:
        """Refuse what KServe would not do, or would silently do otherwise."""
        if "transformer" in record.extras:
            raise PlatformError(
                "spec.transformer: found one, expected none in Standard mode, where a canary's "
                "requests go around it"
            )
        for known in filter(None, (record.stable, record.candidate)):
            if known.template.get("minReplicas", 1) < 1:
                raise PlatformError(
                    "minReplicas: found 0, expected at least 1 in Standard mode, where a canary "
                    "may not have more replicas than the stable predictor"
                )
        if record.stable and record.candidate:
            stable, candidate = record.stable.template, record.candidate.template
            if lost := sorted(inherited(stable, _canary(candidate, 1))):
                raise PlatformError(
                    f"spec.predictor: found no {', '.join(lost)}, expected a value: KServe would "
                    "give the canary the stable predictor's"
                )

    def spec(self, record: ReleaseRecord, percent: int) -> JSON:
        """Return predictor and canary; without a split, one of them has everything."""
        stable, candidate = record.stable, record.candidate
        if stable is None or candidate is None:
            only = candidate or stable
            return {"predictor": dict(only.template) if only else {}}
        first, second, share = stable.template, candidate.template, percent
        if not record.splits and percent == 100:
            first, second, share = second, first, 0
        replicas = max(1, math.ceil(first.get("minReplicas", 1) * share / 100))
        canary = {"predictor": _canary(second, replicas), "trafficPercent": share}
        return {"predictor": dict(first), "canary": [canary]}

    def revision_name(self, live: Mapping[str, Any], known: KnownRevision) -> str:
        """Return the name of the predictor's Deployment."""
        return deployment_name(live["metadata"]["name"], known.template)

    def observe(self, live: Mapping[str, Any], *names: str) -> Observed:
        """Return the weights of the route and the Deployments behind it."""
        service, spec = live["metadata"]["name"], live["spec"]
        served = deployment_name(service, spec["predictor"])
        canaries = [canary["predictor"] for canary in spec.get("canary") or ()]
        known = dict.fromkeys(
            (served, *(deployment_name(service, one) for one in canaries), *names)
        )
        revisions = {name: self._observe(name, live, main=name == served) for name in known if name}
        split, weighted, settled = self._split(live, served)
        return Observed(split, revisions, weighted, settled)

    def _split(self, live: Mapping[str, Any], served: str) -> tuple[dict[str, int], bool, bool]:
        service = live["metadata"]["name"]
        route = self._cluster.get(
            path("gateway.networking.k8s.io/v1", "httproutes", self._namespace, service)
        )
        if route is not None:
            return *read_split(route), is_settled(route)
        ingress = self._cluster.get(
            path("networking.k8s.io/v1", "ingresses", self._namespace, service)
        )
        if ingress is not None:
            backends = backends_of_ingress(ingress)
            return ({backends[0]: 100} if len(backends) == 1 else {}), False, True
        hidden, local = self.hidden
        shut = (live["metadata"].get("labels") or {}).get(hidden) == local
        return ({} if self._routes or shut else {served: 100}), False, True

    def _observe(self, name: str, live: Mapping[str, Any], *, main: bool) -> ObservedRevision:
        where = path("apps/v1", "deployments", self._namespace, name)
        deployment = self._cluster.get(where)
        failure = model_failure(live.get("status") or {}) if main else ""
        if deployment is None:
            unmet = f"KServe has not made Deployment {name}"
            return ObservedRevision(reason=failure or unmet, failed=bool(failure))
        mark, ready = read_deployment(deployment)
        if ready:
            return ObservedRevision(mark, ready=True, url=self._url(name))
        failure = failure or pod_failure(self._pods(name))
        conditions = (deployment.get("status") or {}).get("conditions") or ()
        unmet = (
            false_conditions(conditions, "Available", "Progressing") or "no replica is available"
        )
        stuck = condition(conditions, "Progressing") == "False"
        return ObservedRevision(
            mark, reason=failure or unmet, url=self._url(name), failed=bool(failure) or stuck
        )

    def _pods(self, name: str) -> list[JSON]:
        return self._cluster.items(
            path("v1", "pods", self._namespace), labelSelector=f"app=isvc.{name}"
        )

    def _url(self, name: str) -> str:
        service = self._cluster.get(path("v1", "services", self._namespace, name))
        if service is None:
            return ""
        headless = (service.get("spec") or {}).get("clusterIP") == "None"
        return f"http://{name}.{self._namespace}.svc" + ":8080" * headless


def _with_variable(container: Mapping[str, Any], variable: Mapping[str, str]) -> JSON:
    others = [one for one in container.get("env") or () if one.get("name") != variable["name"]]
    return {**container, "env": [*others, dict(variable)]}


def deployment_name(service: str, predictor: Mapping[str, Any]) -> str:
    """Return the name of a predictor's Deployment and Service (KServe: PredictorServiceName)."""
    name = predictor.get("name")
    return f"{service}-{name}-predictor" if name else f"{service}-predictor"


def check_name(service: str) -> None:
    """Refuse a service whose Deployments' names would be too long for a Service.

    Raises:
        PlatformError: If it is.
    """
    longest = 63 - len("-v0123456789-predictor")
    if len(service) > longest:
        raise PlatformError(
            f"service: found {service!r} ({len(service)} letters), expected at most {longest}"
        )


def read_deployment(deployment: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the digest of the predictor a Deployment runs, and whether that one answers.

    Ready means that the newest pod template is rolled out, not that some older pod is up.
    """
    metadata = deployment["spec"]["template"].get("metadata") or {}
    status = deployment.get("status") or {}
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    updated, wanted = status.get("updatedReplicas", 0), deployment["spec"].get("replicas", 1)
    available = status.get("availableReplicas", 0) - (status.get("replicas", 0) - updated)
    ready = current and updated >= wanted and available > 0
    return str((metadata.get("annotations") or {}).get(DIGEST_ANNOTATION, "")), ready


def inherited(
    stable: Mapping[str, Any], candidate: Mapping[str, Any], prefix: str = ""
) -> set[str]:
    """Return the fields a canary would take over from the stable predictor.

    KServe lays a canary's fields that are not empty over the stable predictor's
    (predictor.go, buildCanaryPredictor), so a field it leaves out or empty is the stable one's.

    Args:
        stable: The stable predictor.
        candidate: The canary's predictor.
        prefix: Path of both, for the answer.
    """
    found: set[str] = set()
    for key, value in stable.items():
        if not prefix and key in (*_NOT_ON_A_CANARY, "minReplicas"):
            continue
        other = candidate.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found |= inherited(value, other, f"{prefix}{key}.")
        elif value and not other:
            found.add(f"{prefix}{key}")
    return found


def _canary(template: Mapping[str, Any], replicas: int) -> JSON:
    kept = {key: value for key, value in template.items() if key not in _NOT_ON_A_CANARY}
    if "model" in kept:
        # KServe's definition wants a name on a canary's model and no other; it may be empty.
        kept["model"] = {"name": "", **kept["model"]}
    return {**kept, "minReplicas": replicas}
