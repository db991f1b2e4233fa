"""The pipeline's first step."""

from pathlib import Path

import pytest
import yaml

from components.errors import InputError
from pipelines.check import check

GOLDEN = Path(__file__).parents[1] / "golden" / "recommender.yaml"


@pytest.fixture(scope="module")
def defaults():
    """The pipeline's own defaults of what the step checks, on a platform of this machine."""
    spec = next(yaml.safe_load_all(GOLDEN.read_text(encoding="utf-8")))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    return {name: parameters[name]["defaultValue"] for name in check.component_spec.inputs}


def test_the_defaults_are_accepted_and_the_package_to_go_on_from_is_found(defaults, tmp_path):
    assert check.python_func(**defaults) == ""
    assert check.python_func(**defaults | {"warm_start": "gs://b/rec/3"}) == "gs://b/rec/3"
    nothing_served = {"warm_start": "live", "platform": f"local:{tmp_path}"}
    assert check.python_func(**defaults | nothing_served) == ""


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("model_name", "bert", "^parameter model: found 'bert', expected one of"),
        ("hyperparameters_2", '{"epochs": 0}', "attempt 2, hyperparameter epochs: found 0"),
        ("hyperparameters_3", "[1]", "attempt 3, hyperparameters: found"),
        ("seed", -1, "parameter seed: found -1"),
        ("train_precision", "int8", "parameter precision: found 'int8', expected one of float32"),
        ("warm_start_mismatch", "never", "warm_start_mismatch: found 'never', expected"),
        ("thresholds", '[{"kind": "above"}]', r"thresholds\[0\]: found"),
        ("compress", "int4", "compress: found 'int4', expected none, float16 or int8"),
        ("compress_max_drop", -1.0, "compress_max_drop: found -1.0"),
        ("shadow_requests", -1, "shadow: found requests -1"),
        ("serving", '{"replicas": 2}', "serving: found key 'replicas'"),
        ("rollout_steps", "5,half,100", "steps: found '5,half,100'"),
        ("rollout_steps", "5,25", r"steps: found \(5, 25\)"),
        ("rollout_on_timeout", "wait", "on_timeout: found 'wait'"),
        ("rollout_max_business_drop", 2.0, "max_business_drop: found 2.0"),
    ],
)
def test_what_a_later_step_would_refuse_is_refused(defaults, parameter, value, message):
    with pytest.raises(InputError, match=message):
        check.python_func(**defaults | {parameter: value})


def test_what_a_search_would_refuse_is_refused_when_there_is_one(defaults):
    unknown = {"search_space": '{"depth": {"low": 1, "high": 2}}'}
    check.python_func(**defaults | unknown)
    with pytest.raises(InputError, match="depth"):
        check.python_func(**defaults | unknown | {"tune_trials": 2})
    with pytest.raises(InputError, match="found 0, expected"):
        check.python_func(**defaults | {"tune_trials": 2, "tune_parallel": 0})
