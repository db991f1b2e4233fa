import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.checksum import tree_digest
from components.errors import InputError
from components.evaluate.evaluate import evaluate, evaluate_settings
from components.evaluate.examples import ExampleSettings, make_examples
from components.evaluate.rank_metrics import gains

# What ranks 1, 3 and 11 are worth: NDCG of rank 1 is 1/log2(2) = 1, of rank 3 1/log2(4) = 1/2.
HR = 2 / 3
NDCG = (1 + 1 / math.log2(4) + 0) / 3
MRR = (1 + 1 / 3 + 1 / 11) / 3

THRESHOLDS = json.dumps(
    [
        {"kind": "at_least", "metric": "ndcg@10", "bound": 0.4},
        {"kind": "beats", "metric": "ndcg@10", "baseline": "popularity", "confident": True},
        {"kind": "not_worse_than_live", "metric": "hr@10", "bound": 0.01},
    ]
)


def run(shop, out: Path, model: Path, live: Path | None = None, thresholds: str = THRESHOLDS):
    blessing = evaluate(
        events_dir=shop["events"],
        catalogue_dir=shop["catalogue"],
        model_dir=model,
        live_model_dir=live,
        evaluation_dir=out / "evaluation",
        blessing_path=out / "blessing.json",
        report_path=out / "report.html",
        settings=evaluate_settings(thresholds=thresholds, k=10, max_examples=1000),
    )
    return blessing, json.loads((out / "evaluation" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def judged(shop, tmp_path_factory):
    """The good model, evaluated against the broken one as the live model."""
    out = tmp_path_factory.mktemp("judged")
    blessing, metrics = run(shop, out, shop["good"], live=shop["broken"])
    return out, blessing, metrics


def test_ranks_that_are_none_are_worth_nothing():
    """A model of NaN exported before `rank_of` knew of them says ½, which would be worth 1.71."""
    np.testing.assert_array_equal(gains(np.array([0.5, np.nan]), k=10), np.zeros((2, 3)))


def test_gains_of_ranks_by_hand():
    want = [[1, 1, 1], [1, 0.5, 1 / 3], [0, 0, 1 / 11]]
    np.testing.assert_allclose(gains(np.array([1.0, 3.0, 11.0]), k=10), want)


def test_tfma_gives_the_metrics_worked_out_by_hand(judged):
    _, _, metrics = judged
    assert metrics["candidate/hr@10/overall"] == pytest.approx(HR)
    assert metrics["candidate/ndcg@10/overall"] == pytest.approx(NDCG)
    assert metrics["candidate/mrr/overall"] == pytest.approx(MRR)
    assert (metrics["examples"], metrics["examples_left_out"], metrics["users"]) == (18, 0, 18)


def test_the_difference_from_the_live_model_is_measured_on_the_same_examples(judged):
    _, _, metrics = judged
    # The broken model ranks the other way round: ranks 20, 18 and 10; only the last is a hit.
    assert metrics["live/hr@10/overall"] == pytest.approx(1 / 3)
    assert metrics["live/mrr/overall"] == pytest.approx((1 / 20 + 1 / 18 + 1 / 10) / 3)
    assert metrics["candidate-live/hr@10/overall"] == pytest.approx(HR - 1 / 3)
    assert metrics["live"] == 1


def test_baselines_are_measured_by_the_same_metrics(judged):
    _, _, metrics = judged
    # Train: n15 40, n16 20 (+1 in eval), n17 1; the other 17 tie at place (4 + 20) / 2 = 12.
    assert metrics["popularity/mrr/overall"] == pytest.approx(1 / 12)
    assert metrics["popularity/hr@10/overall"] == 0
    assert metrics["candidate-popularity/ndcg@10/overall"] == pytest.approx(NDCG)


def test_intervals_hold_the_value_and_are_not_empty(judged):
    _, _, metrics = judged
    for key in ("candidate/ndcg@10/overall", "candidate-popularity/mrr/overall"):
        assert metrics[f"{key}/low"] < metrics[key] < metrics[f"{key}/high"]


def test_slices_hold_what_they_should(judged):
    _, _, metrics = judged
    # Nothing of the test window was in train, so all of it is in the slice of new items.
    assert metrics["candidate/ndcg@10/new_item=yes"] == pytest.approx(NDCG)
    assert "candidate/ndcg@10/new_item=no" not in metrics
    # h00 has 4 train events, all others 3. Ties go by name: thirds of 20 are h01…h07,
    # h08…h14, and h15…h19 with h00.
    assert metrics["candidate/mrr/user_activity=heavy"] == pytest.approx(
        (1 + 1 + 1 / 3 + 1 / 11) / 4  # h00, h15, h16, h17: ranks 1, 1, 3, 11
    )


def test_coverage_counts_items_in_anybodys_list(judged):
    _, _, metrics = judged
    # Everybody gets the same 10 of 20 items.
    assert metrics["candidate/coverage@10/overall"] == 0.5
    assert metrics["indexed_items"] == 20


def test_a_good_model_is_blessed_by_its_checksum(judged, shop):
    out, blessing, _ = judged
    assert blessing.blessed
    written = json.loads((out / "blessing.json").read_text())
    assert written["model_sha256"] == tree_digest(shop["good"])
    assert [one["verdict"] for one in written["thresholds"]] == ["passed"] * 3


def test_the_report_says_it_with_the_titles_and_asks_nothing_of_the_network(judged):
    page = (judged[0] / "report.html").read_text()
    assert "May be published" in page
    assert "Item N00" in page
    assert "household&#39;s own favourites" in page
    assert 'src="http' not in page and 'href="http' not in page


def test_a_broken_model_is_refused_and_without_a_live_model_that_is_said(shop, tmp_path):
    blessing, metrics = run(shop, tmp_path, shop["broken"])
    assert not blessing.blessed
    assert "ndcg@10" in blessing.reason
    assert metrics["live"] == 0
    assert not [key for key in metrics if key.startswith("live/")]
    assert blessing.thresholds[2].verdict == "no live model"
    assert "Refused" in (tmp_path / "report.html").read_text()


def test_a_folder_without_a_model_is_refused_by_name(shop, tmp_path):
    with pytest.raises(InputError, match="saved_model.pb"):
        run(shop, tmp_path, tmp_path)


def test_a_model_without_the_signatures_and_a_folder_without_a_catalogue_are_told_in_one_line(
    shop, tmp_path
):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(InputError, match=r"bare: found .*, expected .'evaluate', 're"):
        run(shop, tmp_path, tmp_path / "bare")
    with pytest.raises(InputError, match=r"no \*.parquet file, expected the catalogue"):
        run(shop | {"catalogue": tmp_path}, tmp_path, shop["good"])


def test_histories_end_before_the_window_and_are_oldest_first(shop):
    examples = make_examples(
        shop["events"], shop["catalogue"], settings=ExampleSettings(history_length=3)
    )
    row = examples.frame.row(by_predicate=pl.col("user") == "h00", named=True)
    # h00 bought n15, n15, n16 and then n17: the last three, oldest first.
    assert row["history"] == ["n15", "n16", "n17"]


def test_sampling_is_seeded_and_counts_what_it_leaves_out(shop):
    settings = ExampleSettings(max_examples=5, seed=7)
    first = make_examples(shop["events"], shop["catalogue"], settings=settings)
    again = make_examples(shop["events"], shop["catalogue"], settings=settings)
    assert first.frame.equals(again.frame)
    assert (first.frame.height, first.left_out) == (5, 13)


def test_an_empty_test_window_is_refused(shop, tmp_path):
    for split in ("train", "eval", "test"):
        (tmp_path / split).mkdir()
        frame = pl.read_parquet(shop["events"] / "train" / "part-0.parquet")
        kept = frame.head(0) if split == "test" else frame
        kept.write_parquet(tmp_path / split / "part-0.parquet")
    with pytest.raises(InputError, match="no events"):
        make_examples(tmp_path, shop["catalogue"], settings=ExampleSettings())
