"""Reading the share of each backend from a Gateway API HTTPRoute or an Ingress."""

from collections.abc import Mapping
from typing import Any


def read_split(route: Mapping[str, Any]) -> tuple[dict[str, int], bool]:
    """Return the percentage (above zero) by backend Service, and whether several are listed.

    Args:
        route: An HTTPRoute (gateway.networking.k8s.io/v1).

    Returns:
        No percentages at all when two rules disagree, which is no split anybody asks for.
    """
    shares = [_shares(rule.get("backendRefs") or ()) for rule in route["spec"].get("rules") or ()]
    weighted = any(len(share) > 1 for share in shares)
    if not shares or any(share != shares[0] for share in shares):
        return {}, weighted
    return {name: percent for name, percent in shares[0].items() if percent}, weighted


def is_settled(route: Mapping[str, Any]) -> bool:
    """Return whether every gateway that reports on an HTTPRoute has seen its newest version."""
    generation = route["metadata"].get("generation", 0)
    return all(
        found.get("observedGeneration", generation) >= generation
        for parent in (route.get("status") or {}).get("parents") or ()
        for found in parent.get("conditions") or ()
    )


def _shares(backends: Any) -> dict[str, int]:
    # Gateway API: a weight that is not given is 1; each share is weight / sum of weights.
    weights = {ref["name"]: int(ref.get("weight", 1)) for ref in backends}
    total = sum(weights.values())
    return {name: round(100 * weight / total) if total else 0 for name, weight in weights.items()}


def backends_of_ingress(ingress: Mapping[str, Any]) -> list[str]:
    """Return the Services that the rule for an Ingress' first host (the service's own) names."""
    rules = ingress["spec"].get("rules") or ()
    if not rules:
        return []
    paths = (rules[0].get("http") or {}).get("paths") or ()
    found = (entry["backend"].get("service", {}).get("name", "") for entry in paths)
    return list(dict.fromkeys(filter(None, found)))
