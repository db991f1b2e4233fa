"""What the cluster lacks, played by the tests: whatever lets traffic in.

No gateway's data plane runs here, so nothing is routed. What a gateway's controller would write
back is written back, by the same rules, so that the controllers waiting for it go on:

* Gateways become Accepted and Programmed; HTTPRoutes become Accepted, and ResolvedRefs says whether
  every backend Service exists.
* Knative's Ingresses become ready.

KServe 0.20 accepts `spec.canary` and starts the canaries, but its HTTPRoutes get no weights: that
came with 0.21 (kserve#5912), which the module proxy does not have. In namespaces labelled
`CANARY_WEIGHTS` the weights of 0.21 are written into the routes 0.20 made, for canaries that are
ready. 0.20 leaves them there, because it only looks for what it would have written itself.
"""

import datetime
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster.manifests import Manifest, connect

CANARY_WEIGHTS = "shopflow.example/canary-weights"

_CONTROLLER = "shopflow.example/tests"
_EVERY_S = 0.2
_GATEWAY_API = "gateway.networking.k8s.io/v1"
_KNATIVE = "networking.internal.knative.dev/v1alpha1"
_KSERVE = "serving.kserve.io/v1beta1"


class StandIns:
    """A thread that looks at the cluster five times a second and writes what is due."""

    def __init__(self, kubeconfig: Path) -> None:
        """Start the thread."""
        self._client = connect(kubeconfig)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stand-ins", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            for act in (self._gateways, self._canary_weights, self._routes, self._ingresses):
                try:
                    act()
                except (ApiException, HTTPError):
                    pass  # changed or gone in between, or the API server is down: the next look

    def _gateways(self) -> None:
        for gateway in self._list(_GATEWAY_API, "Gateway"):
            wanted = {"conditions": _conditions(gateway, Accepted="True", Programmed="True")}
            self._write(gateway, wanted)

    def _routes(self) -> None:
        routes = list(self._list(_GATEWAY_API, "HTTPRoute"))
        if not routes:
            return
        services = {
            (found["metadata"]["namespace"], found["metadata"]["name"])
            for found in self._list("v1", "Service")
        }
        for route in routes:
            resolved = all(backend in services for backend in _backends(route))
            conditions = _conditions(
                route, Accepted="True", ResolvedRefs="True" if resolved else "False"
            )
            parents = [
                {"parentRef": parent, "controllerName": _CONTROLLER, "conditions": conditions}
                for parent in route["spec"].get("parentRefs", ())
            ]
            self._write(route, {"parents": parents})

    def _ingresses(self) -> None:
        for ingress in self._list(_KNATIVE, "Ingress"):
            name = f"gateway.{ingress['metadata']['namespace']}.svc.cluster.local"
            balancer = {"ingress": [{"domainInternal": name}]}
            conditions = _conditions(
                ingress, NetworkConfigured="True", LoadBalancerReady="True", Ready="True"
            )
            for condition in conditions:
                del condition["reason"], condition["observedGeneration"]
            status = {
                "observedGeneration": ingress["metadata"]["generation"],
                "conditions": conditions,
                "publicLoadBalancer": balancer,
                "privateLoadBalancer": balancer,
            }
            self._write(ingress, status)

    def _canary_weights(self) -> None:
        labelled = {
            namespace["metadata"]["name"]
            for namespace in self._list("v1", "Namespace")
            if CANARY_WEIGHTS in namespace["metadata"].get("labels", {})
        }
        if not labelled:
            return
        services = {
            (found["metadata"]["namespace"], found["metadata"]["uid"]): found
            for found in self._list(_KSERVE, "InferenceService")
        }
        for route in self._list(_GATEWAY_API, "HTTPRoute"):
            namespace = route["metadata"]["namespace"]
            for owner in route["metadata"].get("ownerReferences", ()):
                service = services.get((namespace, owner["uid"]))
                if namespace in labelled and service is not None:
                    self._weigh(route, service)

    def _weigh(self, route: Manifest, service: Manifest) -> None:
        if not service["spec"].get("canary") and len(route["spec"]["rules"][0]["backendRefs"]) > 1:
            # A canary was promoted or taken away, and 0.20 writes the route that is left. The
            # first backend may be the old stable one: on its own it would get everybody back.
            named = service["spec"]["predictor"].get("name")
            name = service["metadata"]["name"] + (f"-{named}" if named else "") + "-predictor"
            if route["spec"]["rules"][0]["backendRefs"][0]["name"] != name:
                return
        rules = [
            {**rule, "backendRefs": weighted_backends(rule["backendRefs"][0], service)}
            for rule in route["spec"]["rules"]
        ]
        if rules == route["spec"]["rules"]:
            return
        resource = self._client.resources.get(api_version=_GATEWAY_API, kind="HTTPRoute")
        version = route["metadata"]["resourceVersion"]  # a conflict if KServe wrote in between
        self._client.patch(
            resource,
            body={"metadata": {"resourceVersion": version}, "spec": {"rules": rules}},
            name=route["metadata"]["name"],
            namespace=route["metadata"]["namespace"],
            content_type="application/merge-patch+json",
        )

    def _list(self, api_version: str, kind: str) -> Iterator[Manifest]:
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        for item in self._client.get(resource).to_dict()["items"]:
            yield {**item, "apiVersion": api_version, "kind": kind}

    def _write(self, item: Manifest, status: Manifest) -> None:
        found = item.get("status") or {}
        if _timeless({key: found.get(key) for key in status}) == _timeless(status):
            return
        resource = self._client.resources.get(api_version=item["apiVersion"], kind=item["kind"])
        self._client.patch(
            resource.subresources["status"],
            body={"status": status},
            name=item["metadata"]["name"],
            namespace=item["metadata"]["namespace"],
            content_type="application/merge-patch+json",
        )


def weighted_backends(stable: Manifest, service: Manifest) -> list[Manifest]:
    """Return a route's backends as KServe 0.21 writes them.

    Args:
        stable: The backend of the stable predictor.
        service: The InferenceService.

    Returns:
        The stable backend alone without a canary; else each ready canary with its share beside it.
    """
    canaries = service["spec"].get("canary") or []
    if not canaries:
        return [{**stable, "weight": 1}]  # what the API server makes of no weight
    ready = {
        found["name"]
        for found in service.get("status", {}).get("canaryStatuses") or ()
        if found["ready"]
    }
    shares = {
        canary["predictor"]["name"]: canary["trafficPercent"]
        for canary in canaries
        if canary["predictor"]["name"] in ready
    }
    prefix = service["metadata"]["name"]
    return [
        {**stable, "weight": 100 - sum(shares.values())},
        *(
            {**stable, "name": f"{prefix}-{name}-predictor", "weight": share}
            for name, share in shares.items()
        ),
    ]


def _backends(route: Manifest) -> Iterator[tuple[str, str]]:
    for rule in route["spec"].get("rules", ()):
        for backend in rule.get("backendRefs", ()):
            yield backend.get("namespace", route["metadata"]["namespace"]), backend["name"]


def _conditions(item: Manifest, **statuses: str) -> list[Manifest]:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {
            "type": kind,
            "status": status,
            "reason": kind if status == "True" else "BackendNotFound",
            "message": "",
            "observedGeneration": item["metadata"]["generation"],
            "lastTransitionTime": now,
        }
        for kind, status in statuses.items()
    ]


def _timeless(value: Any) -> Any:
    """Return the value without its times, to see whether anything else changed."""
    if isinstance(value, dict):
        return {key: _timeless(v) for key, v in value.items() if key != "lastTransitionTime"}
    if isinstance(value, list):
        return [_timeless(entry) for entry in value]
    return value
