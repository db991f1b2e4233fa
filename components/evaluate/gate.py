"""The gate: thresholds as data, and the pure decision that writes the blessing."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from components.errors import InputError

Kind = Literal["at_least", "at_most", "beats", "not_worse_than_live", "not_worse_than_reference"]
Verdict = Literal["passed", "failed", "missing", "no live model"]
Metrics = Mapping[str, float | None]

OVERALL = "overall"
# Errors: less is better. Of calibration neither is; its two bounds are at_least and at_most.
LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss"})
NOT_ORDERED = frozenset({"calibration"})
_KINDS: Mapping[str, set[str]] = {
    "at_least": {"bound"},
    "at_most": {"bound"},
    "beats": {"baseline"},
    "not_worse_than_live": {"bound"},
    "not_worse_than_reference": {"bound"},
}
_NO_WORSE_THAN = {"not_worse_than_live": "live", "not_worse_than_reference": "reference"}
_OPTIONAL = {"slice", "bound", "confident"}


@dataclasses.dataclass(frozen=True)
class Threshold:
    """One condition a candidate must meet.

    Attributes:
        kind: "at_least": the metric is ≥ bound. "at_most": it is ≤ bound. "beats": the candidate's
            lead over the baseline is > bound. "not_worse_than_live": its lead over the live model
            is ≥ −bound; passes when nothing is live. "not_worse_than_reference": the same with the
            model the candidate was made of; fails when there is none. The lead is candidate −
            other, and of a metric in `LOWER_IS_BETTER` other − candidate.
        metric: Its name, for example "ndcg@10".
        bound: In the metric's own unit, not in percent.
        slice: "overall" or "column=value", for example "item_popularity=tail".
        baseline: What "beats" compares with.
        confident: Whether the worse end of the confidence interval is compared, not the value.
    """

    kind: Kind
    metric: str
    bound: float = 0.0
    slice: str = OVERALL
    baseline: str = ""
    confident: bool = False

    @property
    def measured(self) -> str:
        """Return the key in metrics.json of the number this condition is about."""
        model = "candidate"
        if self.kind == "beats":
            model = difference_name("candidate", self.baseline)
        elif self.kind in _NO_WORSE_THAN:
            model = difference_name("candidate", _NO_WORSE_THAN[self.kind])
        key = metric_key(model, self.metric, self.slice)
        return f"{key}/{_worse_end(self.kind, self.metric)}" if self.confident else key


@dataclasses.dataclass(frozen=True)
class Checked:
    """A threshold with what was found."""

    metric: str
    slice: str
    value: float | None
    bound: float
    kind: Kind
    verdict: Verdict
    against: str
    confident: bool

    def sentence(self) -> str:
        """Say in one line what was asked for and what was found."""
        better, worse = "above", "below"
        if self.metric in LOWER_IS_BETTER:
            better, worse = worse, better
        asked = {
            "at_least": f"at least {self.bound:.4g}",
            "at_most": f"at most {self.bound:.4g}",
            "beats": f"more than {self.bound:.4g} {better} {self.against}",
            "not_worse_than_live": f"no more than {self.bound:.4g} {worse} the live model",
            "not_worse_than_reference": (
                f"no more than {self.bound:.4g} {worse} the reference model"
            ),
        }[self.kind]
        what = "value" if self.kind in ("at_least", "at_most") else "difference"
        bound = "upper" if _worse_end(self.kind, self.metric) == "high" else "lower"
        end = f"{bound} bound of the {what}" if self.confident else what
        found = self.verdict if self.value is None else f"{end} {self.value:.4g}"
        return f"{self.metric} ({self.slice}) must be {asked}: {found}"


def _worse_end(kind: Kind, metric: str) -> str:
    """Return which end of the confidence interval is the worse one: "low" or "high"."""
    compared = kind == "beats" or kind in _NO_WORSE_THAN
    return "high" if kind == "at_most" or (compared and metric in LOWER_IS_BETTER) else "low"


@dataclasses.dataclass(frozen=True)
class Blessing:
    """The gate's decision about one exact model."""

    blessed: bool
    model_sha256: str
    thresholds: tuple[Checked, ...]
    reason: str

    def write(self, path: Path) -> None:
        """Write the decision as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")


def metric_key(model: str, metric: str, slice_name: str) -> str:
    """Return a number's key in metrics.json; its interval is at "<key>/low" and "<key>/high"."""
    return f"{model}/{metric}/{slice_name}"


def difference_name(model: str, other: str) -> str:
    """Return the name under which `model` minus `other` is measured, example by example."""
    return f"{model}-{other}"


def parse_thresholds(text: str) -> tuple[Threshold, ...]:
    """Read thresholds from the JSON list that is the step's parameter.

    Raises:
        InputError: If it is not JSON, is empty (a gate without conditions would bless anything),
            or a threshold has an unknown, missing or ill-typed key.
    """
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("thresholds", f"text that is not JSON ({error})", "a JSON list") from error
    if not isinstance(entries, list) or not entries:
        raise InputError("thresholds", repr(entries)[:80], "a JSON list of at least one threshold")
    return tuple(_threshold(entry, f"thresholds[{n}]") for n, entry in enumerate(entries))


def _threshold(entry: Any, where: str) -> Threshold:
    if not isinstance(entry, dict) or entry.get("kind") not in _KINDS:
        raise InputError(where, repr(entry)[:80], f'an object with "kind" one of {sorted(_KINDS)}')
    required = {"kind", "metric"} | _KINDS[entry["kind"]]
    keys = set(entry)
    if missing := required - keys:
        raise InputError(where, f"no {sorted(missing)}", f"the keys {sorted(required)}")
    if unknown := keys - required - _OPTIONAL:
        raise InputError(where, f"unknown {sorted(unknown)}", f"{sorted(required | _OPTIONAL)}")
    for key, value in entry.items():
        kind = {"bound": (int, float), "confident": (bool,)}.get(key, (str,))
        wrong_bool = isinstance(value, bool) and key != "confident"
        if not isinstance(value, kind) or wrong_bool or value == "":
            raise InputError(f"{where}.{key}", repr(value)[:80], kind[-1].__name__)
    if not math.isfinite(entry.get("bound", 0.0)):
        raise InputError(f"{where}.bound", repr(entry["bound"]), "a finite number")
    compared = entry["kind"] == "beats" or entry["kind"] in _NO_WORSE_THAN
    if compared and entry["metric"] in NOT_ORDERED:
        raise InputError(
            f"{where}.kind", repr(entry["kind"]), "at_least or at_most for this metric"
        )
    if entry["kind"] in _NO_WORSE_THAN and entry["bound"] < 0:
        raise InputError(f"{where}.bound", repr(entry["bound"]), "the largest loss allowed, ≥ 0")
    return Threshold(**entry)


def decide_blessing(
    metrics: Metrics, thresholds: Sequence[Threshold], model_sha256: str
) -> Blessing:
    """Decide whether a candidate may be published; what is missing counts as failed.

    Args:
        metrics: metrics.json of one evaluation: number or None by `metric_key`. The entry
            "live" is 1 when a model in service was evaluated, 0 when there is none.
        thresholds: At least one; every one must pass.
        model_sha256: Tree digest of the model the metrics are about.

    Returns:
        The blessing with every threshold's value and verdict, in the order given.

    Raises:
        ValueError: If there is no threshold.
    """
    if not thresholds:
        raise ValueError("no thresholds: expected at least one, or the gate would bless anything")
    checked = tuple(_check(metrics, threshold) for threshold in thresholds)
    refused = [one for one in checked if one.verdict in ("failed", "missing")]
    reason = (
        "; ".join(one.sentence() for one in refused)
        if refused
        else f"all {len(checked)} thresholds passed"
    )
    return Blessing(not refused, model_sha256, checked, reason)


def _check(metrics: Metrics, threshold: Threshold) -> Checked:
    value = metrics.get(threshold.measured)
    if value is not None and not math.isfinite(value):
        value = None
    verdict: Verdict
    if threshold.kind == "not_worse_than_live" and metrics.get("live") == 0:
        value, verdict = None, "no live model"
    elif value is None:
        verdict = "missing"
    else:
        lead = -value if threshold.metric in LOWER_IS_BETTER else value
        passed = {
            "at_least": value >= threshold.bound,
            "at_most": value <= threshold.bound,
            "beats": lead > threshold.bound,
            "not_worse_than_live": lead >= -threshold.bound,
            "not_worse_than_reference": lead >= -threshold.bound,
        }[threshold.kind]
        verdict = "passed" if passed else "failed"
    against = (_NO_WORSE_THAN | {"beats": threshold.baseline}).get(threshold.kind, "")
    return Checked(
        metric=threshold.metric,
        slice=threshold.slice,
        value=value,
        bound=threshold.bound,
        kind=threshold.kind,
        verdict=verdict,
        against=against,
        confident=threshold.confident,
    )
