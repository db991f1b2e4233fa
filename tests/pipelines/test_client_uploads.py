"""`upload` and `run`: one version of each content, parameters of the declared types."""

from pathlib import Path

import pytest

from components.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "recommender.yaml"
NEEDED = ["-p", "events_uri=gs://b/e", "-p", "catalogue_uri=gs://b/c", "-p", "store_uri=gs://b/m"]


@pytest.fixture
def changed(tmp_path):
    """The same pipeline with another image."""
    file = tmp_path / "recommender.yaml"
    file.write_text(GOLDEN.read_text().replace(":0.1.0", ":0.2.0"))
    return file


def test_the_same_content_is_one_version_and_other_content_another(server, cli, changed):
    assert "uploaded" in cli("upload", GOLDEN)
    assert "already there" in cli("upload", GOLDEN)
    assert "uploaded" in cli("upload", changed)
    assert "already there" in cli("upload", GOLDEN)
    (pipeline,) = server.stored["pipelines"].values()
    assert pipeline.display_name == "shopflow-recommender"
    versions = list(server.stored["versions"].values())
    assert {version.pipeline_id for version in versions} == {pipeline.pipeline_id}
    images = [str(version.pipeline_spec) for version in versions]
    assert [":0.1.0" in text for text in images] == [True, False]


def test_a_name_of_a_version_is_never_given_to_other_content(cli, changed):
    cli("upload", GOLDEN, "--version", "1")
    with pytest.raises(InputError, match="--version 1: found it taken by another content"):
        cli("upload", changed, "--version", "1")


def test_a_pipeline_the_server_refuses_leaves_nothing_behind(server, cli, tmp_path):
    file = tmp_path / "old.yaml"
    file.write_text(GOLDEN.read_text().replace("schemaVersion: 2.1.0", "schemaVersion: 1.0.0"))
    with pytest.raises(
        InputError, match="HTTP 400, KFP only supports schema version 2.1.0, expected"
    ):
        cli("upload", file)
    assert server.stored["pipelines"] == {}


def test_a_run_has_the_parameters_with_their_types(server, cli, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text("seed: 2\nrollout_poll_s: 5\nevents_uri: from-the-file\n")
    config = tmp_path / "shop.yaml"
    config.write_text("name: shop\n")
    given = ["--parameter-file", values, "-p", "seed=3", "-p", f"dataset=@{config}"]
    for _ in range(2):
        cli("run", GOLDEN, *NEEDED, *given, "--experiment", "nightly")
    run, _ = server.stored["runs"].values()
    assert run.runtime_config.parameters == {
        "events_uri": "gs://b/e",  # -p is stronger than the file
        "catalogue_uri": "gs://b/c",
        "store_uri": "gs://b/m",
        "seed": 3,
        "rollout_poll_s": 5,
        "dataset": "name: shop\n",
    }
    (experiment,) = server.stored["experiments"].values()
    assert experiment.display_name == "nightly"
    assert run.experiment_id == experiment.experiment_id
    assert list(server.stored["versions"]) == [run.pipeline_version_reference.pipeline_version_id]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["-p", "seed=1.5"], "-p seed: found '1.5', expected a whole number"),
        (["-p", f"rollout_poll_s={10**400}"], "expected a number"),
        (["-p", "seed=true"], "-p seed: found 'true', expected a whole number"),
        (["-p", "rollout_poll_s=NaN"], "-p rollout_poll_s: found 'NaN', expected a number"),
        (["-p", "sed=1"], "did you mean seed?"),
        (["-p", "seed"], "-p: found 'seed', expected name=value"),
        (["-p", "seed=1", "-p", "seed=2"], "-p seed: found it twice"),
        (["-p", "dataset=@no-such.yaml"], "expected a readable text file after @"),
    ],
)
def test_a_wrong_parameter_is_told_before_anything_is_sent(server, cli, given, line):
    with pytest.raises(InputError) as told:
        cli("run", GOLDEN, *NEEDED, *given)
    assert line in str(told.value)
    assert server.requests == []


def test_a_parameter_in_a_file_is_not_converted(server, cli, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text("as_of: 2017-12-04\n")  # YAML's date is not the text the step takes
    with pytest.raises(InputError, match="as_of: found date .*, expected a text"):
        cli("run", GOLDEN, *NEEDED, "--parameter-file", values)


def test_a_parameter_without_default_must_be_given(cli):
    with pytest.raises(InputError, match="found no events_uri, store_uri, expected every"):
        cli("run", GOLDEN, "-p", "catalogue_uri=gs://b/c")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("not: a pipeline\n", 'no field named "not"'),
        ("a: [\n", "no YAML"),
        ("", "file"),
        ("pipelineInfo: {name: x}\nroot: {dag: {}}\n", "no pipelineInfo.name or no steps"),
        ("apiVersion: pipelines.kubeflow.org/v2beta1\n", "manifests for kubectl apply"),
    ],
)
def test_a_file_that_is_no_compiled_pipeline_is_told(server, cli, tmp_path, text, found):
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=f"{found}.* expected a pipeline compiled to KFP v2 YAML"):
        cli("upload", file)
    assert server.requests == []
