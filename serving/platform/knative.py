"""KServe in Knative mode: a predictor is a revision, `canaryTrafficPercent` splits the traffic."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from serving.platform.cluster import JSON, Cluster, path
from serving.platform.deployment_mode import Mode, Observed, ObservedRevision
from serving.platform.failure import condition, false_conditions, model_failure, pod_failure
from serving.platform.inference_service import digest
from serving.platform.interface import PlatformError
from serving.platform.release_record import DIGEST_ANNOTATION, KnownRevision, ReleaseRecord

# Gives the newest revision a URL of its own; KServe always gives one ("prev") to the older one.
_TAG_ROUTING = "serving.kserve.io/enable-tag-routing"
# "latest-<name>-predictor" is one label of a host name.
_LONGEST_NAME = 63 - len("latest--predictor")


class KnativeMode:
    """A `TrafficMode`.

    KServe's rules (ksvc_reconciler.go, inference_service_status.go): the newest ready revision
    gets `canaryTrafficPercent`, `latestRolledoutRevision` the rest. Without the field the newest
    ready revision gets everything, even while a newer one is still starting.
    """

    mode: Mode = "Knative"
    # Knative makes the route cluster-local, and does not copy this label to revisions.
    hidden = ("networking.knative.dev/visibility", "cluster-local")

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Look at the revisions of a namespace."""
        self._cluster, self._namespace = cluster, namespace

    def stamp(self, template: Mapping[str, Any]) -> JSON:
        """Return the predictor with its digest, and with a URL for its revision."""
        annotations = dict(template.get("annotations") or {})
        annotations |= {DIGEST_ANNOTATION: digest(template), _TAG_ROUTING: "true"}
        return {**template, "annotations": annotations}

    def check(self, record: ReleaseRecord) -> None:
        """Refuse what Knative would not serve."""
        candidate = record.candidate
        if candidate and candidate.template.get("name"):
            raise PlatformError(
                f"predictor.name: found {candidate.template['name']!r}, expected none in Knative "
                "mode, where it would make another Knative service"
            )

    def spec(self, record: ReleaseRecord, percent: int) -> JSON:
        """Return the newest predictor with its share."""
        if record.candidate is None or record.stable is None:
            only = record.candidate or record.stable
            return {"predictor": dict(only.template) if only else {}}
        return {"predictor": {**record.candidate.template, "canaryTrafficPercent": percent}}

    def restoring_spec(self, stable: KnownRevision) -> JSON:
        """Return the stable predictor as a new revision that gets no users yet."""
        return {"predictor": {**stable.template, "canaryTrafficPercent": 0}}

    def revision_name(self, live: Mapping[str, Any], known: KnownRevision) -> str:
        """Return the name of the newest revision, if it runs this predictor."""
        name = str(_predictor_status(live).get("latestCreatedRevision", ""))
        return name if name and self._digest(self._revision(name)) == known.digest else ""

    def observe(self, live: Mapping[str, Any], *names: str) -> Observed:
        """Return the split of `status.components.predictor.traffic` and its revisions."""
        predictor = _predictor_status(live)
        split, urls = read_traffic(predictor)
        settled = True
        if self._shut(live):
            split = {}
        elif ".svc." in str((live.get("status") or {}).get("url", "")):
            settled = self._opened(live)
        latest = str(predictor.get("latestCreatedRevision", ""))
        rolled_out = str(predictor.get("latestRolledoutRevision", ""))
        revisions = {
            name: self._observe(name, live, url=urls.get(name, ""), newest=name == latest)
            for name in dict.fromkeys((*urls, *split, latest, rolled_out, *names))
            if name
        }
        return Observed(split, revisions, weighted=True, settled=settled)

    def _shut(self, found: Mapping[str, Any]) -> bool:
        hidden, local = self.hidden
        return bool((found["metadata"].get("labels") or {}).get(hidden) == local)

    def _opened(self, live: Mapping[str, Any]) -> bool:
        """Return whether a service that has a local address is to have no other.

        KServe hands the label's end down to Knative's Service, which hands it to its Route. In a
        cluster whose only domain is its own, a local address is all there will be.
        """
        name = f"{live['metadata']['name']}-predictor"
        route = self._cluster.get(path("serving.knative.dev/v1", "routes", self._namespace, name))
        if route is None:
            return True
        conditions = (route.get("status") or {}).get("conditions") or ()
        url = (route.get("status") or {}).get("url")
        told = _predictor_status(live).get("url")
        return not self._shut(route) and condition(conditions, "Ready") == "True" and url == told

    def _observe(
        self, name: str, live: Mapping[str, Any], *, url: str, newest: bool
    ) -> ObservedRevision:
        revision = self._revision(name)
        if revision is None:
            return ObservedRevision(reason="it does not exist any more", failed=True)
        conditions = (revision.get("status") or {}).get("conditions") or ()
        ready = condition(conditions, "Ready")
        if ready == "True":
            return ObservedRevision(self._digest(revision), ready=True, url=url)
        reason = pod_failure(self._pods(name))
        failed = bool(reason) or ready == "False"
        if failed and newest:
            # Only then: while a new revision has no pods yet, KServe still tells the old one's.
            reason = model_failure(live.get("status") or {}) or reason
        unmet = false_conditions(conditions, "Ready") or "Knative has not reported on it"
        return ObservedRevision(
            self._digest(revision), reason=reason or unmet, url=url, failed=failed
        )

    def _revision(self, name: str) -> JSON | None:
        return self._cluster.get(path("serving.knative.dev/v1", "revisions", self._namespace, name))

    def _pods(self, name: str) -> list[JSON]:
        return self._cluster.items(
            path("v1", "pods", self._namespace),
            labelSelector=f"serving.knative.dev/revision={name}",
        )

    def _digest(self, revision: JSON | None) -> str:
        annotations = ((revision or {}).get("metadata") or {}).get("annotations") or {}
        return str(annotations.get(DIGEST_ANNOTATION, ""))


def check_name(service: str) -> None:
    """Refuse a service whose host names would be too long.

    Raises:
        PlatformError: If it is.
    """
    if len(service) > _LONGEST_NAME:
        raise PlatformError(
            f"service: found {service!r} ({len(service)} letters), expected at most {_LONGEST_NAME}"
        )


def read_traffic(predictor: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, str]]:
    """Return the percentage (above zero) and the tag's URL by revision name.

    Args:
        predictor: `status.components.predictor`. One revision may be listed several times, and
            as "latest" it may be an older one while the newest is still starting.
    """
    split: Counter[str] = Counter()
    urls = {}
    for target in predictor.get("traffic") or ():
        name = target.get("revisionName", "")
        split[name] += target.get("percent") or 0
        if target.get("tag") and target.get("url"):
            urls[name] = target["url"]
    return {name: percent for name, percent in split.items() if name and percent}, urls


def _predictor_status(live: Mapping[str, Any]) -> Mapping[str, Any]:
    components = (live.get("status") or {}).get("components") or {}
    return components.get("predictor") or {}
