import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import InputError
from components.evaluate.gate import Threshold, decide_blessing, metric_key, parse_thresholds

NDCG = metric_key("candidate", "ndcg@10", "overall")
LEAD = metric_key("candidate-popularity", "ndcg@10", "overall")
LIVE = metric_key("candidate-live", "ndcg@10", "overall")


def test_blesses_exactly_this_model_when_every_threshold_passes():
    thresholds = [
        Threshold("at_least", "ndcg@10", bound=0.1),
        Threshold("beats", "ndcg@10", baseline="popularity"),
    ]
    blessing = decide_blessing({NDCG: 0.1, LEAD: 0.01}, thresholds, "abc")
    assert blessing.blessed
    assert blessing.model_sha256 == "abc"
    assert [one.verdict for one in blessing.thresholds] == ["passed", "passed"]
    assert [one.value for one in blessing.thresholds] == [0.1, 0.01]


def test_one_failure_among_passes_refuses_and_is_named_in_the_reason():
    thresholds = [
        Threshold("at_least", "ndcg@10", bound=0.1),
        Threshold("beats", "ndcg@10", baseline="popularity"),
    ]
    blessing = decide_blessing({NDCG: 0.2, LEAD: 0.0}, thresholds, "abc")
    assert not blessing.blessed  # a lead of exactly 0 beats nobody
    assert "popularity" in blessing.reason


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_metric_that_is_not_a_number_refuses(value):
    blessing = decide_blessing({NDCG: value}, [Threshold("at_least", "ndcg@10")], "abc")
    assert not blessing.blessed
    assert blessing.thresholds[0].verdict == "missing"


def test_a_metric_that_is_absent_refuses():
    threshold = Threshold("at_least", "ndcg@10", slice="new_item=yes")
    assert not decide_blessing({NDCG: 1.0}, [threshold], "abc").blessed


def test_confident_compares_the_lower_bound_and_refuses_without_one():
    threshold = Threshold("beats", "ndcg@10", baseline="popularity", confident=True)
    assert decide_blessing({LEAD: 0.02, f"{LEAD}/low": 0.01}, [threshold], "").blessed
    assert not decide_blessing({LEAD: 0.02, f"{LEAD}/low": -0.01}, [threshold], "").blessed
    assert not decide_blessing({LEAD: 0.02}, [threshold], "").blessed


def test_live_may_be_undercut_by_the_bound_and_no_more():
    threshold = Threshold("not_worse_than_live", "ndcg@10", bound=0.25)
    assert decide_blessing({"live": 1, LIVE: -0.25}, [threshold], "").blessed
    assert not decide_blessing({"live": 1, LIVE: -0.26}, [threshold], "").blessed


def test_without_a_live_model_that_threshold_passes_only_when_it_is_known_that_there_is_none():
    threshold = Threshold("not_worse_than_live", "ndcg@10", bound=0.0)
    blessing = decide_blessing({"live": 0}, [threshold], "")
    assert blessing.blessed
    assert blessing.thresholds[0].verdict == "no live model"
    assert not decide_blessing({}, [threshold], "").blessed
    assert not decide_blessing({"live": 1}, [threshold], "").blessed


def test_an_error_must_be_at_most_its_bound_and_confidence_looks_at_its_upper_end():
    rmse = metric_key("candidate", "rmse", "overall")
    threshold = Threshold("at_most", "rmse", bound=0.9)
    assert decide_blessing({rmse: 0.9}, [threshold], "").blessed
    assert not decide_blessing({rmse: 0.91}, [threshold], "").blessed
    assert not decide_blessing({}, [threshold], "").blessed
    confident = Threshold("at_most", "rmse", bound=0.9, confident=True)
    assert decide_blessing({rmse: 0.8, f"{rmse}/high": 0.9}, [confident], "").blessed
    refused = decide_blessing({rmse: 0.8, f"{rmse}/low": 0.7, f"{rmse}/high": 1.0}, [confident], "")
    assert "rmse (overall) must be at most 0.9: upper bound of the value 1" in refused.reason
    assert not decide_blessing({rmse: 0.8}, [confident], "").blessed


def test_of_an_error_the_smaller_one_leads():
    lead = metric_key("candidate-biases", "rmse", "overall")
    beats = Threshold("beats", "rmse", bound=0.1, baseline="biases")
    assert decide_blessing({lead: -0.11}, [beats], "").blessed
    refused = decide_blessing({lead: 0.2}, [beats], "")
    assert "must be more than 0.1 below biases: difference 0.2" in refused.reason
    confident = Threshold("beats", "rmse", baseline="biases", confident=True)
    assert decide_blessing({lead: -0.2, f"{lead}/high": -0.1}, [confident], "").blessed
    assert not decide_blessing(
        {lead: -0.2, f"{lead}/low": -0.5, f"{lead}/high": 0.1}, [confident], ""
    ).blessed
    live = metric_key("candidate-live", "rmse", "overall")
    not_worse = Threshold("not_worse_than_live", "rmse", bound=0.05)
    assert decide_blessing({"live": 1, live: 0.05}, [not_worse], "").blessed
    assert not decide_blessing({"live": 1, live: 0.06}, [not_worse], "").blessed


def test_no_thresholds_is_an_error_and_not_a_blessing():
    with pytest.raises(ValueError, match="at least one"):
        decide_blessing({NDCG: 1.0}, [], "abc")


@given(st.dictionaries(st.sampled_from([NDCG, LEAD, LIVE]), st.none() | st.floats()))
def test_never_blessed_without_a_value_at_or_above_the_bound(metrics):
    blessing = decide_blessing(metrics, [Threshold("at_least", "ndcg@10", bound=0.5)], "")
    value = metrics.get(NDCG)
    assert blessing.blessed == (value is not None and 0.5 <= value < float("inf"))


def test_reads_thresholds_from_json():
    entry = {"kind": "beats", "metric": "mrr", "baseline": "popularity", "confident": True}
    assert parse_thresholds(json.dumps([entry])) == (
        Threshold("beats", "mrr", baseline="popularity", confident=True),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"),
        ("[]", "at least one"),
        ('[{"kind": "above", "metric": "mrr"}]', "kind"),
        ('[{"kind": "at_least", "metric": "mrr"}]', "bound"),
        ('[{"kind": "at_least", "metric": "mrr", "bound": "0.1"}]', "bound"),
        ('[{"kind": "at_least", "metric": "mrr", "bound": NaN}]', "finite"),
        ('[{"kind": "at_least", "metric": "mrr", "bound": true}]', "bound"),
        ('[{"kind": "at_least", "metric": "mrr", "bound": 0, "bond": 1}]', "bond"),
        ('[{"kind": "beats", "metric": "mrr"}]', "baseline"),
        ('[{"kind": "not_worse_than_live", "metric": "mrr", "bound": -1}]', "largest loss"),
        ('[{"kind": "at_most", "metric": "rmse"}]', "bound"),
        ('[{"kind": "beats", "metric": "calibration", "baseline": "popularity"}]', "at_most"),
    ],
)
def test_refuses_thresholds_that_cannot_be_meant(text, named):
    with pytest.raises(InputError, match=named):
        parse_thresholds(text)


def test_a_reference_is_lost_to_by_no_more_than_the_bound_and_must_be_there():
    key = metric_key("candidate-reference", "ndcg@10", "overall")
    kept = Threshold("not_worse_than_reference", "ndcg@10", bound=0.001, confident=True)
    assert decide_blessing({f"{key}/low": -0.001}, [kept], "abc").blessed
    refused = decide_blessing({f"{key}/low": -0.0011}, [kept], "abc")
    assert not refused.blessed
    assert "no more than 0.001 below the reference model" in refused.reason
    # Nothing in service passes; no reference does not: it was asked for.
    missing = decide_blessing({"live": 0}, [kept], "abc")
    assert missing.thresholds[0].verdict == "missing" and not missing.blessed
