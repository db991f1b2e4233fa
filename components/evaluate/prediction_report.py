"""The report's sections about what a model predicts of single pairs."""

import markupsafe

from components import report
from components.evaluate.gate import OVERALL
from components.evaluate.prediction_metrics import METRICS
from components.evaluate.predictions import NEGATIVES, Predictions
from components.evaluate.tables import NAMES, comparison, heading, slice_table

_TITLES = {"rating": "How near its ratings are", "click": "How well it tells events from chance"}


def prediction_sections(
    predictions: Predictions | None,
) -> list[tuple[str, markupsafe.Markup]]:
    """Return headings and bodies; none for a model that predicts nothing but an order."""
    if predictions is None:
        return []
    found = {(m.model, m.metric, m.slice): m for m in predictions.measurements}
    metrics = METRICS[predictions.kind]
    models = [name for name in NAMES if (name, metrics[0], OVERALL) in found]
    body = report.paragraph(_words(predictions))
    if "live" not in models:
        text = "The model in service, if there is one, predicts something else: no comparison."
        body += report.paragraph(text, css="note")
    body += comparison(found, models, metrics, shown=metrics[0])
    body += report.paragraph(f"{heading(metrics[0])} by kind of item and household:", css="note")
    return [(_TITLES[predictions.kind], body + slice_table(found, models, metrics[0]))]


def _words(predictions: Predictions) -> str:
    count, left_out = f"{predictions.examples:,}", f"{predictions.left_out:,}"
    if predictions.kind == "rating":
        return (
            f"{count} ratings of the test window ({left_out} more were left out by sampling). RMSE "
            "and MAE are in the unit of the ratings; RMSE weighs large errors more. The rival adds "
            "up how an item and a household differ from the mean."
        )
    return (
        f"{count} pairs: events of the test window ({left_out} more were left out by sampling), "
        f"and for each {NEGATIVES} items drawn evenly from the catalogue that the household did "
        "not take then. AUC: how often an event has a higher score than a drawn item. Log loss: "
        "what the probabilities miss, in nats. Calibration: events expected for each that there "
        "was; 1 is right. Drawn items were shown to nobody: none of this is a click-through rate."
    )
