"""The model card: what a person must know of a published model, from measured figures only."""

from collections.abc import Mapping
from typing import Any

import jinja2

_CARD = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
    """# {{ name }}, version {{ version }}

{% if "rating_examples" in metrics %}
A model of ratings: from a user id and recent purchases to how the user would rate items.
{% else %}
A retrieval model: from a user id and recent purchases to the items the user is likely to buy next.
{% endif %}

| | |
|---|---|
| model sha256 | `{{ model_sha256 }}` |
| schema sha256 | `{{ schema_sha256 }}` |

Which run made it from what is in `manifest.json`, under `lineage`.

## Verdict of the gate

{{ blessing.reason }}

| metric | slice | kind | value | bound | verdict |
|---|---|---|---|---|---|
{% for t in blessing.thresholds %}
| {{ t.metric }} | {{ t.slice }} | {{ t.kind }} | {{ t.value }} | {{ t.bound }} | {{ t.verdict }} |
{% endfor %}

## Evaluation, held-out test window

| measure | value |
|---|---|
{% for key, value in metrics.items() %}
| {{ key }} | {{ value }} |
{% endfor %}

## Limits

The figures hold for the shop and the time the test window was taken from. Users and items the model
has never seen are answered from out-of-vocabulary buckets and, for items, from their content.
"""
)


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        manifest: The version's manifest. Of its metrics those over all examples are shown, with
            the ends of their confidence intervals; slices are in the evaluation report.
    """
    overall = {
        key: value
        for key, value in manifest["metrics"].items()
        if value is not None and (key.count("/") < 2 or key.split("/")[2] == "overall")
    }
    return _CARD.render(**dict(manifest) | {"metrics": overall})
