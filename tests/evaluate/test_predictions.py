import datetime as dt
import json
import math

import numpy as np
import polars as pl
import pytest

from components.errors import InputError
from components.evaluate.evaluate import evaluate, evaluate_settings
from components.evaluate.examples import ExampleSettings
from components.evaluate.prediction_report import prediction_sections
from components.evaluate.predictions import (
    clicked_pairs,
    measure_predictions,
    predicted_kind,
    rated_pairs,
)
from tests.evaluate.conftest import save_model, write_catalogue, write_events


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """20 households rated x with 4 and y with 2; in the test window half rate x 5, half y 1."""
    root = tmp_path_factory.mktemp("rated")
    train = [(f"h{n}", item, rating) for n in range(20) for item, rating in (("x", 4), ("y", 2))]
    test = [(f"h{n}", *(("x", 5), ("y", 1))[n % 2]) for n in range(20)] + [("h0", "y", None)]
    splits = {"train": train, "eval": [("h1", "z", None)], "test": test}
    for split, rows in splits.items():
        (root / "events" / split).mkdir(parents=True)
        frame = pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row")
        clock = dt.datetime(2024, 1, 1)
        frame.with_columns(
            pl.col("rating").cast(pl.Float32),
            time=pl.Series([clock + dt.timedelta(minutes=n) for n in range(len(rows))]),
        ).write_parquet(root / "events" / split / "part-0.parquet")
    write_catalogue(root / "catalogue", ["x", "y", "z"])
    save_model(root / "good", {"x": 4.5, "y": 1.0, "z": 3.0}, predicts="rating")
    save_model(root / "worse", {"x": 4.0, "y": 2.0, "z": 3.0}, predicts="rating")
    return root


def test_the_rival_of_ratings_and_what_is_rated_by_hand(rated):
    frame, left_out = rated_pairs(rated / "events", rated / "catalogue", ExampleSettings())
    assert (frame.height, left_out) == (20, 0)  # the event without a rating is none
    # μ = 3, b_x = 20 · 1 / (25 + 20) = 4/9 = −b_y, b_u = (5/9 − 5/9) / 12 = 0.
    answer = dict(frame.select("item", "rival_biases").unique().iter_rows())
    assert answer == pytest.approx({"x": 3 + 4 / 9, "y": 3 - 4 / 9})
    few = rated_pairs(rated / "events", rated / "catalogue", ExampleSettings(max_examples=5))
    assert (few[0].height, few[1]) == (5, 15)


@pytest.fixture(scope="module")
def judged(rated, tmp_path_factory):
    """The good model of ratings, evaluated beside a worse live one with the default thresholds."""
    out = tmp_path_factory.mktemp("judged")
    blessing = evaluate(
        events_dir=rated / "events",
        catalogue_dir=rated / "catalogue",
        model_dir=rated / "good",
        live_model_dir=rated / "worse",
        evaluation_dir=out / "evaluation",
        blessing_path=out / "blessing.json",
        report_path=out / "report.html",
        settings=evaluate_settings(thresholds="", k=10, max_examples=1000),
    )
    return out, blessing, json.loads((out / "evaluation" / "metrics.json").read_text())


def test_a_model_of_ratings_may_lose_no_rmse_to_the_one_it_was_made_of(rated, tmp_path):
    # It orders all items alike, so that no NDCG is lost, and beats the rival.
    blessing = evaluate(
        events_dir=rated / "events",
        catalogue_dir=rated / "catalogue",
        model_dir=rated / "worse",
        live_model_dir=None,
        evaluation_dir=tmp_path / "evaluation",
        blessing_path=tmp_path / "blessing.json",
        report_path=tmp_path / "report.html",
        settings=evaluate_settings(thresholds="", k=10, max_examples=1000),
        reference_model_dir=rated / "good",
    )
    assert [(one.metric, one.verdict) for one in blessing.thresholds] == [
        ("rmse", "passed"),
        ("rmse", "no live model"),
        ("ndcg@10", "passed"),
        ("rmse", "failed"),
    ]
    assert "no more than 0.001 above the reference model" in blessing.reason


def test_a_model_that_answers_nan_is_refused_and_has_no_figures(rated, tmp_path):
    model = save_model(tmp_path / "nan", {"x": math.nan, "y": math.nan, "z": 3.0}, predicts="click")
    blessing = evaluate(
        events_dir=rated / "events",
        catalogue_dir=rated / "catalogue",
        model_dir=model,
        live_model_dir=None,
        evaluation_dir=tmp_path / "evaluation",
        blessing_path=tmp_path / "blessing.json",
        report_path=tmp_path / "report.html",
        settings=evaluate_settings(thresholds="", k=10, max_examples=1000),
    )
    assert not blessing.blessed
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["candidate/auc/overall"] is metrics["candidate/log_loss/overall"] is None
    # x and y are what is held out, and rank after all three items.
    assert metrics["candidate/mrr/overall"] == pytest.approx(1 / 4)


def test_tfma_gives_the_errors_of_ratings_worked_out_by_hand(judged):
    _, _, metrics = judged
    # x: 4.5 − 5 = −½ for ten, y: 1 − 1 = 0 for ten.
    assert metrics["candidate/rmse/overall"] == pytest.approx(math.sqrt(0.125))
    assert metrics["candidate/mae/overall"] == pytest.approx(0.25)
    assert metrics["live/rmse/overall"] == pytest.approx(1.0)
    assert metrics["biases/rmse/overall"] == pytest.approx(2 - 4 / 9)
    assert metrics["candidate-live/rmse/overall"] == pytest.approx(math.sqrt(0.125) - 1)
    assert metrics["candidate/rmse/category=second"] == pytest.approx(math.sqrt(0.125))
    low, high = (metrics[f"candidate/rmse/overall/{end}"] for end in ("low", "high"))
    assert low < math.sqrt(0.125) < high
    assert metrics["rating_examples"] == 20
    assert "candidate/ndcg@10/overall" in metrics  # and the ranks are still measured


def test_a_model_of_ratings_is_judged_by_its_ratings(judged):
    out, blessing, _ = judged
    assert blessing.blessed
    assert [(one.metric, one.verdict) for one in blessing.thresholds] == [("rmse", "passed")] * 2
    page = (out / "report.html").read_text()
    assert "How near its ratings are" in page and "mean of item and household" in page


def test_a_log_without_rated_events_cannot_judge_a_model_of_ratings(shop, tmp_path):
    with pytest.raises(InputError, match="no rated event"):
        rated_pairs(shop["events"], shop["catalogue"], ExampleSettings())


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """30 households; a model that knows the first five of 40 items to be taken more often."""
    root = tmp_path_factory.mktemp("clicks")
    items = [f"n{n:02}" for n in range(40)]
    random = np.random.default_rng(0)
    likely = np.array([5.0] * 5 + [1.0] * 35) / 60

    def events() -> list[tuple[str, str]]:
        return [(f"h{n % 30:02}", items[i]) for n, i in enumerate(random.choice(40, 90, p=likely))]

    write_events(root / "events", {"train": events(), "eval": events()[:3], "test": events()})
    write_catalogue(root / "catalogue", items)
    odds = {item: math.log(share * 40) for item, share in zip(items, likely, strict=True)}
    save_model(root / "model", odds, predicts="click")
    save_model(root / "plain", odds)
    settings = ExampleSettings()
    measured = measure_predictions(
        {"candidate": root / "model", "live": root / "plain"},
        events_dir=root / "events",
        catalogue_dir=root / "catalogue",
        output_dir=root / "out",
        settings=settings,
    )
    pairs, _ = clicked_pairs(root / "events", root / "catalogue", settings)
    return root, odds, pairs, measured


def test_a_household_s_own_items_are_never_drawn_and_the_draw_is_seeded(clicks):
    root, _, pairs, measured = clicks
    taken = pl.read_parquet(root / "events" / "test").select("user", "item").unique()
    drawn = pairs.filter(label=0.0)
    assert (
        pairs.filter(label=1.0)
        .select("user", "item")
        .sort("user", "item")
        .equals(taken.sort("user", "item"))
    )
    assert drawn.join(taken, on=["user", "item"]).is_empty()
    assert 3.5 * taken.height < drawn.height <= 4 * taken.height
    again, _ = clicked_pairs(root / "events", root / "catalogue", ExampleSettings())
    assert again.equals(pairs)
    few, left_out = clicked_pairs(
        root / "events", root / "catalogue", ExampleSettings(max_examples=50)
    )
    assert few.filter(label=1.0).height == 10 and left_out == taken.height - 10
    assert (measured.examples, measured.left_out) == (pairs.height, 0)


def test_tfma_gives_auc_log_loss_and_calibration_as_their_formulas_do(clicks):
    _, odds, pairs, measured = clicks
    found = {(m.model, m.metric): m for m in measured.measurements if m.slice == "overall"}
    own = np.array([odds[item] for item in pairs["item"]])
    for model, score in (("candidate", own), ("popularity", pairs["rival_popularity"].to_numpy())):
        label = pairs["label"].to_numpy() == 1
        won = np.sign(score[label][:, None] - score[~label][None, :])
        chance = 1 / (1 + np.exp(-(score - math.log(4))))
        loss = -np.mean(np.where(label, np.log(chance), np.log(1 - chance)))
        # The cells of the scores are 0.01 wide.
        assert found[model, "auc"].value == pytest.approx(np.mean((won + 1) / 2), abs=2e-3)
        assert found[model, "log_loss"].value == pytest.approx(loss, rel=1e-5)
        assert found[model, "calibration"].value == pytest.approx(chance.sum() / label.sum())
    lead = found["candidate-popularity", "auc"]
    expected = found["candidate", "auc"].value - found["popularity", "auc"].value
    assert lead.value == pytest.approx(expected) and lead.low < lead.value < lead.high
    # A model that does not predict clicks is not compared, and nobody's calibration is.
    assert not [model for model, _ in found if "live" in model]
    assert ("candidate-popularity", "calibration") not in found
    ((title, body),) = prediction_sections(measured)
    assert title == "How well it tells events from chance" and "log loss" in body


def test_the_rival_of_clicks_is_popularity_s_own_log_odds(clicks):
    root, _, pairs, _ = clicks
    known = pl.concat([pl.read_parquet(root / "events" / split) for split in ("train", "eval")])
    item, answer = pairs.select("item", "rival_popularity").row(0)
    count = known.filter(item=item).height
    # 93 events and 40 items, each counted as half an event more.
    assert answer == pytest.approx(math.log((count + 0.5) / (93 + 20) * 40))


def test_what_a_model_predicts_is_read_from_its_signatures(rated, clicks):
    assert predicted_kind(rated / "good") == "rating"
    assert predicted_kind(clicks[0] / "model") == "click"
    assert predicted_kind(clicks[0] / "plain") == ""
