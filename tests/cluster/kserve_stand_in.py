"""A stand-in for KServe's controller: writes what it would, by its rules, in a few lines.

It is for what cannot be had here otherwise: Knative's controllers, and the canary weights on
HTTPRoutes that KServe has since 0.21. Where KServe's own controller runs, that is the better proof.
The rules are those of ksvc_reconciler.go, inference_service_status.go, predictor.go and
httproute_reconciler.go (applyCanaryWeights).
"""

import threading
from pathlib import Path
from typing import Any, Literal

import urllib3
from kubernetes import client, config

from serving.platform.cluster import JSON, ApiError, Cluster, path

ISVC = "serving.kserve.io/v1beta1"
Route = Literal["weights", "single", "ingress"]
# Annotations that KServe does not hand down to pods (constants.go).
_NOT_HANDED_DOWN = {"modelFormat", "kubectl.kubernetes.io/last-applied-configuration"}


def cluster_of(kubeconfig: Path, *, manager: str = "shopflow", **options: Any) -> Cluster:
    """Return a client of the API server a kubeconfig names."""
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    settings.retries = urllib3.Retry(0, redirect=0)
    return Cluster(client.ApiClient(settings), manager=manager, **options)


class KServeStandIn:
    """Reconciles every InferenceService of a namespace until it is stopped.

    Attributes:
        splits: Every split users ever had, in order: what no test of the end state would show.
    """

    broken = "gs://models/broken/1"
    told = "no saved_model.pb"
    words = "no saved_model.pb.*exit code 78|exit code 78.*no saved_model.pb"

    def __init__(
        self, kubeconfig: Path, namespace: str, mode: str, route: Route = "weights"
    ) -> None:
        self.kubeconfig, self.controller = kubeconfig, namespace
        self.annotations: dict[str, str] = {}
        self.cluster = cluster_of(kubeconfig, manager="kserve-stand-in")
        self.namespace, self.mode, self.route = namespace, mode, route
        self.revisions: dict[str, list[JSON]] = {}
        self.components: dict[str, JSON] = {}
        self.splits: list[dict[str, int]] = []
        self.paused = threading.Event()
        self.last_error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "KServeStandIn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.03):
            if self.paused.is_set():
                continue
            for isvc in self.cluster.items(path(ISVC, "inferenceservices", self.namespace)):
                try:
                    reconcile = self.knative if self.mode == "Knative" else self.standard
                    status = reconcile(isvc)
                    if status != isvc.get("status"):
                        self._status(path(ISVC, "inferenceservices", self.namespace), isvc, status)
                except ApiError as error:
                    self.last_error = str(error)  # mostly: changed meanwhile, seen next round

    def _status(self, where: str, found: JSON, status: JSON) -> None:
        body = {"apiVersion": found["apiVersion"], "kind": found["kind"]}
        body |= {"metadata": {"name": found["metadata"]["name"]}, "status": status}
        self.cluster.apply(f"{where}/{found['metadata']['name']}/status", body, force=True)

    # Knative

    def knative(self, isvc: JSON) -> JSON:
        name = isvc["metadata"]["name"]
        predictor = dict(isvc["spec"]["predictor"])
        percent = predictor.pop("canaryTrafficPercent", None)
        annotations = handed_down(isvc) | (predictor.get("annotations") or {})
        revisions = self.revisions.setdefault(name, [])
        if not revisions or (revisions[-1]["predictor"], revisions[-1]["annotations"]) != (
            predictor,
            annotations,
        ):
            number = len(revisions) + 1
            revision = {"name": f"{name}-predictor-{number:05d}", "age": 0}
            revisions.append(revision | {"predictor": predictor, "annotations": annotations})
        for revision in revisions:
            revision["age"] += 1
            if revision["age"] in (1, 3):
                self._revision(name, revision)
        component = self.components.setdefault(name, {})
        traffic = self._traffic(name, component, percent, revisions)
        propagate(component, traffic, revisions)
        broken = is_broken(revisions[-1]["predictor"]) and revisions[-1]["age"] > 2
        local = (isvc["metadata"].get("labels") or {}).get("networking.knative.dev/visibility")
        host = "svc.cluster.local" if local else "example.com"
        if not local:
            self._record({entry["revisionName"]: entry["percent"] for entry in traffic})
        return {
            "deploymentMode": "Serverless",  # the name before 0.16, which clusters still report
            "url": f"http://{name}.{self.namespace}.{host}",
            "components": {"predictor": {k: v for k, v in component.items() if v}},
            "modelStatus": model_status(broken),
            "conditions": [{"type": "Ready", "status": "False" if broken else "True"}],
        }

    def _traffic(
        self, name: str, component: JSON, percent: int | None, revisions: list[JSON]
    ) -> Any:
        ready = [r["name"] for r in revisions if r["age"] > 2 and not is_broken(r["predictor"])]
        if not ready:
            return []
        rolled_out = component.get("latestRolledoutRevision")
        latest = {"revisionName": ready[-1], "latestRevision": True, "percent": 100}
        targets = [latest]
        if percent is not None and rolled_out:
            latest["percent"] = percent
            if percent < 100:
                rest = {"revisionName": rolled_out, "latestRevision": False, "tag": "prev"}
                targets.append(rest | {"percent": 100 - percent})
        if revisions[-1]["annotations"].get("serving.kserve.io/enable-tag-routing") == "true":
            latest["tag"] = "latest"
        for target in targets:
            if "tag" in target:
                host = f"{target['tag']}-{name}-predictor.{self.namespace}.example.com"
                target["url"] = f"http://{host}"
        return targets

    def _revision(self, service: str, revision: JSON) -> None:
        api, plural = "serving.knative.dev/v1", "revisions"
        body = {
            "apiVersion": api,
            "kind": "Revision",
            "metadata": {
                "name": revision["name"],
                "namespace": self.namespace,
                "annotations": revision["annotations"],
                "labels": {"serving.knative.dev/service": f"{service}-predictor"},
            },
            "spec": {"containers": [{"name": "kserve-container", "image": "predictor"}]},
        }
        where = path(api, plural, self.namespace)
        self.cluster.apply(f"{where}/{revision['name']}", body)
        state = "Unknown" if revision["age"] == 1 else str(not is_broken(revision["predictor"]))
        ready = {"type": "Ready", "status": state, "reason": "" if state == "True" else "Deploying"}
        self._status(where, body, {"conditions": [ready]})

    # Standard

    def standard(self, isvc: JSON) -> JSON:
        name, spec = isvc["metadata"]["name"], isvc["spec"]
        stable, canaries = spec["predictor"], spec.get("canary") or []
        main = self._deployment(isvc, stable)
        statuses = []
        for canary in canaries:
            merged = merge(stable, canary["predictor"])
            ready = self._deployment(isvc, merged)
            entry = {"name": merged["name"], "trafficPercent": canary["trafficPercent"]}
            statuses.append(entry | {"ready": ready, "modelStatus": {"transitionStatus": ""}})
        names = {service_name(name, one) for one in (stable, *(c["predictor"] for c in canaries))}
        for kind in ("deployments", "services"):
            where = path("apps/v1" if kind == "deployments" else "v1", kind, self.namespace)
            for found in self.cluster.items(where, labelSelector=f"isvc={name}"):
                if found["metadata"]["name"] not in names:
                    self.cluster.delete(f"{where}/{found['metadata']['name']}")
        local = (isvc["metadata"].get("labels") or {}).get("networking.kserve.io/visibility")
        if main and not local:
            self._route(isvc, statuses)
        host = service_name(name, stable)
        status = {
            "deploymentMode": "Standard",
            "url": f"http://{name}-{self.namespace}.example.com",
            "address": {"url": f"http://{host}.{self.namespace}.svc.cluster.local"},
            "modelStatus": model_status(is_broken(stable)),
            "conditions": [{"type": "Ready", "status": str(main)}],
        }
        return status | ({"canaryStatuses": statuses} if statuses else {})

    def _deployment(self, isvc: JSON, predictor: JSON) -> bool:
        service = isvc["metadata"]["name"]
        name = service_name(service, predictor)
        labels = {**(isvc["metadata"].get("labels") or {}), **(predictor.get("labels") or {})}
        pod = {
            "metadata": {
                "labels": labels | {"app": f"isvc.{name}", "isvc": service},
                "annotations": handed_down(isvc) | (predictor.get("annotations") or {}),
            },
            "spec": {"containers": [{"name": "kserve-container", "image": "predictor"}]},
        }
        where = path("apps/v1", "deployments", self.namespace)
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"isvc": service}},
            "spec": {
                "replicas": predictor.get("minReplicas", 1),
                "selector": {"matchLabels": {"app": f"isvc.{name}"}},
                "template": pod,
            },
        }
        found = self.cluster.apply(f"{where}/{name}", body)
        generation, replicas = found["metadata"]["generation"], found["spec"]["replicas"]
        broken = is_broken(predictor)
        self._status(
            where,
            body,
            {
                "observedGeneration": generation,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": 0 if broken else replicas,
                "availableReplicas": 0 if broken else replicas,
                "conditions": [{"type": "Available", "status": str(not broken)}],
            },
        )
        port = {"name": "http", "port": 80, "targetPort": 8080}
        self.cluster.apply(
            path("v1", "services", self.namespace, name),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "labels": {"isvc": service}},
                "spec": {"ports": [port], "selector": {"app": f"isvc.{name}"}},
            },
        )
        if broken:
            self._crashing_pod(name, pod)
        return not broken and replicas > 0

    def _crashing_pod(self, name: str, template: JSON) -> None:
        metadata = {"name": f"{name}-0", "namespace": self.namespace} | template["metadata"]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        where = path("v1", "pods", self.namespace)
        self.cluster.apply(f"{where}/{name}-0", body)
        ended = {"exitCode": 78, "reason": "Error", "message": "error: no saved_model.pb"}
        crash = {"name": "kserve-container", "image": "predictor", "imageID": "", "ready": False}
        crash |= {"restartCount": 3, "lastState": {"terminated": ended}}
        crash["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
        self._status(where, body, {"containerStatuses": [crash]})

    def _route(self, isvc: JSON, canaries: list[JSON]) -> None:
        name, served = (
            isvc["metadata"]["name"],
            service_name(isvc["metadata"]["name"], isvc["spec"]["predictor"]),
        )
        if self.route == "ingress":
            backend = {"service": {"name": served, "port": {"number": 80}}}
            entry = {"path": "/", "pathType": "Prefix", "backend": backend}
            rule = {"host": f"{name}.example.com", "http": {"paths": [entry]}}
            self._own(isvc, "networking.k8s.io/v1", "ingresses", "Ingress", {"rules": [rule]})
            self._record({served: 100})
            return
        shares = {served: 100}
        if self.route == "weights":
            for canary in canaries:
                if canary["ready"]:
                    shares[service_name(name, canary)] = canary["trafficPercent"]
                    shares[served] -= canary["trafficPercent"]
        refs = [{"name": to, "port": 80, "weight": share} for to, share in shares.items()]
        if len(refs) == 1:
            del refs[0]["weight"]
        self._own(
            isvc,
            "gateway.networking.k8s.io/v1",
            "httproutes",
            "HTTPRoute",
            {"rules": [{"backendRefs": refs}]},
        )
        self._record({to: share for to, share in shares.items() if share})

    def _own(self, isvc: JSON, api: str, plural: str, kind: str, spec: JSON) -> None:
        owner = {"apiVersion": ISVC, "kind": "InferenceService", "uid": isvc["metadata"]["uid"]}
        owner["name"] = isvc["metadata"]["name"]
        body = {"apiVersion": api, "kind": kind, "spec": spec}
        body["metadata"] = {"name": owner["name"], "ownerReferences": [owner]}
        self.cluster.apply(path(api, plural, self.namespace, owner["name"]), body, force=True)

    def _record(self, split: dict[str, int]) -> None:
        split = {name: share for name, share in split.items() if share}
        if not self.splits or self.splits[-1] != split:
            self.splits.append(split)


def propagate(component: JSON, traffic: list[JSON], revisions: list[JSON]) -> None:
    """Change the predictor's status as KServe's PropagateStatus does, its surprise included."""
    ready = next((t["revisionName"] for t in traffic if t["latestRevision"]), "")
    created = revisions[-1]["name"]
    total = sum(t["percent"] for t in traffic if t["revisionName"] == ready)
    rolled_out = component.get("latestRolledoutRevision", "")
    for target in traffic:
        if not target["latestRevision"]:
            continue
        if rolled_out != ready:
            if target["percent"] == 100:
                component["previousRolledoutRevision"] = rolled_out
                component["latestRolledoutRevision"] = ready
        elif ready == created and target["percent"] < 100 and total == 100:
            if previous := component.get("previousRolledoutRevision"):
                component["latestRolledoutRevision"] = previous
    component |= {
        "latestCreatedRevision": created,
        "latestReadyRevision": ready,
        "traffic": traffic,
    }


def handed_down(isvc: JSON) -> dict[str, str]:
    """Return the annotations of an InferenceService that its pods get."""
    annotations = isvc["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in _NOT_HANDED_DOWN}


def service_name(service: str, predictor: JSON) -> str:
    """Return the name of a predictor's Deployment (constants.go, PredictorServiceName)."""
    return (
        f"{service}-{predictor['name']}-predictor"
        if predictor.get("name")
        else f"{service}-predictor"
    )


def merge(below: JSON, above: JSON) -> JSON:
    """Lay the fields of one predictor that are not empty over another's, as mergo does."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        if value not in (None, "", 0, [], {}):
            merged[key] = merge(merged[key], value) if both else value
    return merged


def is_broken(predictor: JSON) -> bool:
    """Return whether a predictor's package is one that cannot be served."""
    return "broken" in str(predictor)


def model_status(broken: bool) -> JSON:
    """Return `status.modelStatus`."""
    if not broken:
        return {"transitionStatus": "UpToDate"}
    info = {"reason": "ModelLoadFailed", "message": "no saved_model.pb", "exitCode": 78}
    return {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": info}
