"""Writing PromQL selectors in which a label's value stays a value."""

import json
import re
from collections.abc import Collection, Mapping


def selector(
    metric: str, *, equal: Mapping[str, str], one_of: Mapping[str, Collection[str]]
) -> str:
    """Return a selector of a metric's series.

    Args:
        metric: Name of the metric.
        equal: Values by label.
        one_of: Permitted values by label.
    """
    conditions = [f"{label}={_quoted(value)}" for label, value in equal.items()]
    for label, values in one_of.items():
        # Anchored at both ends by Prometheus.
        pattern = "|".join(re.escape(value) for value in sorted(values))
        conditions.append(f"{label}=~{_quoted(pattern)}")
    return f"{metric}{{{','.join(conditions)}}}"


def _quoted(text: str) -> str:
    # PromQL's strings are Go's, and JSON's escapes are among Go's.
    return json.dumps(text, ensure_ascii=False)
