"""What a model store shows its readers while versions are published and publishers are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.checksum import tree_digest
from components.deploy.package import verify_package
from components.errors import InputError
from components.object_store import open_store
from components.package.package import GOLDEN_REQUESTS, publish
from components.package.requests import WARMUP_FILE, answer_requests
from components.package.versions import list_versions, read_manifest, verify_version
from tests.serving.key_pair import key_pair

ROOT = Path(__file__).parents[2]
ITEMS = ("a", "b", "c")
PRIVATE, PUBLIC = key_pair()


class Popular(tf.Module):
    """Recommends the same three items to everybody: a real SavedModel, small."""

    def __init__(self, scores):
        super().__init__()
        self.scores = tf.Variable(scores, dtype=tf.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "user"),
            tf.TensorSpec([None, None], tf.string, "history"),
            tf.TensorSpec([None], tf.int64, "k"),
        ]
    )
    def recommend(self, user, history, k):
        count = tf.minimum(tf.reduce_max(k), len(ITEMS))
        best = tf.math.top_k(self.scores, tf.cast(count, tf.int32))
        rows = tf.shape(user)[0]
        items = tf.gather(tf.constant(ITEMS), best.indices)
        return {
            "items": tf.tile(items[tf.newaxis], [rows, 1]),
            "scores": tf.tile(best.values[tf.newaxis], [rows, 1]),
        }


def save_model(folder, scores=(0.1, 0.3, 0.2)):
    model = Popular(scores)
    tf.saved_model.save(model, str(folder), signatures={"recommend": model.recommend})
    return folder


def save_events(folder):
    """Two days each of train, eval and test; user u0 to u4 buy one item a day."""
    day = datetime(2024, 1, 1)
    for number, split in enumerate(("train", "eval", "test")):
        (folder / split).mkdir(parents=True)
        rows = [
            (f"u{user}", ITEMS[(user + number) % 3], day + timedelta(days=number, hours=user))
            for user in range(5)
        ]
        frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
        frame.write_parquet(folder / split / "part-00000.parquet")
    return folder


def bless(path, model_dir, *, blessed=True, sha256=None):
    sha256 = sha256 or tree_digest(model_dir)
    blessing = {"blessed": blessed, "model_sha256": sha256, "thresholds": [], "reason": "because"}
    path.write_text(json.dumps(blessing), encoding="utf-8")
    return path


@pytest.fixture
def given(tmp_path):
    """A blessed model and everything that is published with it, as `publish` takes it."""
    model_dir = save_model(tmp_path / "model")
    evaluation_dir = tmp_path / "evaluation"
    evaluation_dir.mkdir()
    metrics = {"candidate/ndcg@10/overall": 0.25, "candidate/ndcg@10/category=tea": 0.125}
    (evaluation_dir / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (tmp_path / "schema.pbtxt").write_text('feature { name: "user" }', encoding="utf-8")
    return {
        "model_dir": model_dir,
        "blessing_path": bless(tmp_path / "blessing", model_dir),
        "schema_path": tmp_path / "schema.pbtxt",
        "evaluation_dir": evaluation_dir,
        "events_dir": save_events(tmp_path / "events"),
        "store_uri": str(tmp_path / "store"),
        "name": "shop",
        "lineage": {"run": "run-1"},
    }


def test_a_version_is_complete_and_every_checksum_holds(given):
    published = publish(**given)
    store = open_store(given["store_uri"])
    assert published.uri == f"{given['store_uri']}/shop/1"
    verify_version(store, "shop", 1)
    manifest = read_manifest(store, "shop", 1)
    assert manifest["model_sha256"] == tree_digest(given["model_dir"])
    assert manifest["lineage"] == {"run": "run-1"}
    assert {"MODEL_CARD.md", "requests.json", f"1/{WARMUP_FILE}", "1/saved_model.pb"} <= set(
        manifest["files"]
    )


def test_with_a_key_it_is_signed_and_only_then_deployed_where_signatures_are_asked_for(given):
    unsigned = publish(**given)
    assert verify_package(unsigned.uri).version == 1
    with pytest.raises(InputError, match="found no signature of its manifest"):
        verify_package(unsigned.uri, public_keys=PUBLIC)
    given["store_uri"] += "2"
    signed = publish(**given, signing_key=PRIVATE)
    verify_version(open_store(given["store_uri"]), "shop", 1)
    assert verify_package(signed.uri, public_keys=PUBLIC).version == 1
    given["store_uri"] += "3"
    with pytest.raises(InputError, match="SHOPFLOW_SIGNING_KEY"):
        publish(**given, signing_key=PUBLIC)
    assert list_versions(open_store(given["store_uri"]), "shop") == []


def test_the_same_model_is_published_once_and_another_becomes_the_next_version(given, tmp_path):
    assert publish(**given).new
    again = publish(**given | {"lineage": {"run": "run-2"}})
    assert (again.version, again.new) == (1, False)
    retrained = save_model(tmp_path / "retrained")
    blessing = bless(tmp_path / "blessing1", retrained)
    same = publish(**given | {"model_dir": retrained, "blessing_path": blessing})
    assert (same.version, same.new) == (1, False)
    other = save_model(tmp_path / "other", scores=(0.9, 0.3, 0.2))
    blessing = bless(tmp_path / "blessing2", other)
    second = publish(**given | {"model_dir": other, "blessing_path": blessing})
    assert (second.version, second.new) == (2, True)
    assert list_versions(open_store(given["store_uri"]), "shop") == [1, 2]


@pytest.mark.parametrize(
    ("blessing", "told"),
    [({"blessed": False}, "a refusal: because"), ({"sha256": "0" * 64}, "a blessing for 000")],
)
def test_a_model_without_a_blessing_of_its_own_is_refused_and_nothing_is_written(
    given, blessing, told
):
    bless(given["blessing_path"], given["model_dir"], **blessing)
    with pytest.raises(InputError, match=told):
        publish(**given)
    assert not Path(given["store_uri"]).exists()


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("model_dir", "no files to make a checksum of"),
        ("schema_path", "No such file"),
        ("blessing_path", "the gate's decision, JSON"),
        ("evaluation_dir", "the evaluation's figures, JSON"),
        ("events_dir", r"no \*.parquet file"),
    ],
)
def test_what_is_not_there_is_told_in_one_line_and_nothing_is_written(given, argument, told):
    with pytest.raises(InputError, match=told):
        publish(**given | {argument: given[argument].with_name("gone")})
    assert not Path(given["store_uri"]).exists()


def test_golden_requests_carry_the_models_own_answers(given):
    publish(**given)
    file = Path(given["store_uri"]) / "shop" / "1" / "requests.json"
    pairs = json.loads(file.read_text(encoding="utf-8"))["requests"]
    # Five users in the test window, and the unknown one.
    assert len(pairs) == min(GOLDEN_REQUESTS, 6)
    assert [pair["body"]["instances"][0]["user"] for pair in pairs][-1] == ""
    # u0 bought item 0 in train and item 1 in eval.
    assert pairs[0]["body"]["instances"][0]["history"] == ["a", "b"]
    for pair in pairs:
        assert pair["answer"]["items"] == ["b", "c", "a"]  # scores .3, .2, .1
    assert answer_requests(given["model_dir"], [pairs[0]["body"]]) == [pairs[0]["answer"]]


def test_tf_servings_warm_up_file_reads_back(given):
    publish(**given)
    file = Path(given["store_uri"]) / "shop" / "1" / "1" / WARMUP_FILE
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]
    assert len(logs) == 6
    request = logs[0].predict_log.request
    assert request.model_spec.signature_name == "recommend"
    assert tf.make_ndarray(request.inputs["history"]).tolist() == [[b"a", b"b"]]


def test_the_card_shows_overall_figures_and_leaves_slices_to_the_report(given):
    publish(**given)
    card = (Path(given["store_uri"]) / "shop" / "1" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| candidate/ndcg@10/overall | 0.25 |" in card
    assert "category=tea" not in card


def test_an_altered_file_is_found(given):
    publish(**given)
    card = Path(given["store_uri"]) / "shop" / "1" / "MODEL_CARD.md"
    card.write_text("better figures", encoding="utf-8")
    with pytest.raises(InputError, match="MODEL_CARD.md: found sha256"):
        verify_version(open_store(given["store_uri"]), "shop", 1)


def test_a_file_nobody_published_is_found(given):
    publish(**given)
    (Path(given["store_uri"]) / "shop" / "1" / "extra.py").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"extra\.py: found a file, expected none"):
        verify_version(open_store(given["store_uri"]), "shop", 1)


def as_json(given):
    return json.dumps({k: v if isinstance(v, dict) else str(v) for k, v in given.items()})


PROGRAM = (
    "import json, sys; from pathlib import Path\n"
    "given = {k: Path(v) if k.endswith(('_dir', '_path')) else v"
    " for k, v in json.loads(sys.argv[1]).items()}\n"
    "from components.package.package import publish\n"
    "print('ready', flush=True); sys.stdin.readline(); print(publish(**given).version)"
)


def publisher(given):
    """A process that has imported everything and publishes when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, as_json(given)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def start(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_killed_at_any_moment_it_shows_readers_all_or_nothing_and_resumes(given):
    store = open_store(given["store_uri"])
    for delay_s in (0.05, 0.15, 0.3, 0.5):
        with publisher(given) as process:
            start(process)
            time.sleep(delay_s)
            os.kill(process.pid, signal.SIGKILL)
        for version in list_versions(store, "shop"):
            verify_version(store, "shop", version)
    assert publish(**given).version == 1
    verify_version(store, "shop", 1)
    assert list_versions(store, "shop") == [1]
    assert [path.name for path in (Path(given["store_uri"]) / ".uploading").iterdir()] == []


def test_two_publishers_of_one_model_publish_one_version(given):
    with publisher(given) as first, publisher(given | {"lineage": {"run": "run-2"}}) as second:
        start(first)
        start(second)
        assert (first.communicate()[0], second.communicate()[0]) == ("1\n", "1\n")
    store = open_store(given["store_uri"])
    assert list_versions(store, "shop") == [1]
    verify_version(store, "shop", 1)


def test_two_publishers_of_two_models_publish_two_versions(given, tmp_path):
    other = save_model(tmp_path / "other", scores=(0.9, 0.3, 0.2))
    blessing = bless(tmp_path / "blessing2", other)
    others = given | {"model_dir": other, "blessing_path": blessing}
    with publisher(given) as first, publisher(others) as second:
        start(first)
        start(second)
        assert {first.communicate()[0], second.communicate()[0]} == {"1\n", "2\n"}
    for version in (1, 2):
        verify_version(open_store(given["store_uri"]), "shop", version)
