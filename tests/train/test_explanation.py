"""What moved a recommendation: the planted cause is named, in the SavedModel and over HTTP."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.train.explanation import explain
from components.train.export import Recommender
from components.train.fit import train
from components.train.items import build_item_table
from components.train.models.registry import find_model
from components.train.settings import TrainSettings
from components.train.tables import FeatureGraph
from tests.serving.running_server import running_server
from tests.serving.tiny_package import digest, write_manifest
from tests.shop import make_shop


def trained(prepared: Any, folder: Path, *, model: str, **hyperparameters: Any) -> Path:
    settings = TrainSettings(model=model, hyperparameters=json.dumps(hyperparameters), explain=True)
    outputs = prepared.outputs(folder)
    train(**prepared.inputs, **outputs, checkpoint_root="", settings=settings)
    return Path(outputs["model_dir"])


@pytest.fixture(scope="module")
def slist(shop_artifacts: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows what comes after what."""
    return trained(shop_artifacts, tmp_path_factory.mktemp("slist"), model="slist")


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An item, and a history in which one event alone, the middle one, is its planted cause."""
    shop = make_shop(tmp_path_factory.mktemp("again"), seed=1)
    following, group = shop.next_item, shop.item_group
    bought = np.flatnonzero(following != np.arange(len(following)))
    cause = int(bought[0])
    others = [int(n) for n in bought if group[n] != group[cause]][:2]
    history = [f"i{others[0]}", f"i{cause}", f"i{others[1]}"]
    return {"user": "u1", "history": history, "item": f"i{following[cause]}"}


def asked(model_dir: Path, **rows: Any) -> dict[str, Any]:
    signature = tf.saved_model.load(str(model_dir)).signatures["explain"]
    answer = signature(**{name: tf.constant(value) for name, value in rows.items()})
    return {name: value.numpy() for name, value in answer.items()}


def test_each_change_is_the_score_with_less_the_score_without() -> None:
    """Scores are written down: 8 for the user "u", and 1, 2, 4 for the events a, b, c."""

    @tf.function(  # type: ignore[untyped-decorator]  # as the model calls it
        input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string),
                         tf.TensorSpec([None], tf.string)]
    )  # fmt: skip
    def answer(user: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> Any:
        def score(user: tf.Tensor, history: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
            worth = sum(
                tf.cast(history == name, tf.float32) * value
                for name, value in (("a", 1.0), ("b", 2.0), ("c", 4.0))
            )
            return 8.0 * tf.cast(user == "u", tf.float32) + tf.reduce_sum(worth, axis=1)

        return explain(score, user, history, item)

    # 90 queries of five variants each: more than are scored at once.
    users = ["u", "nobody", "u"] * 30
    history = [["", "a", "b"], ["c", "", "a"], ["b", "b", "c"]] * 30
    found = answer(tf.constant(users), tf.constant(history), tf.constant(["x"] * 90))
    assert found["score"].numpy().tolist() == [8 + 3, 5, 8 + 8] * 30
    assert found["user_change"].numpy().tolist() == [8, 0, 8] * 30
    changes = [[0, 1, 2], [4, 0, 1], [2, 2, 4]] * 30
    assert found["history_changes"].numpy().tolist() == changes
    nothing = answer(tf.constant(["u"]), tf.zeros([1, 0], tf.string), tf.constant(["x"]))
    assert nothing["history_changes"].shape == (1, 0) and float(nothing["score"][0]) == 8
    empty = answer(tf.zeros([0], tf.string), tf.zeros([0, 2], tf.string), tf.zeros([0], tf.string))
    assert empty["history_changes"].shape == (0, 2)


def test_the_planted_cause_has_the_largest_change(slist: Path, question: dict[str, Any]) -> None:
    found = asked(slist, **{name: [value] for name, value in question.items()})
    changes = found["history_changes"][0]
    # Nothing but the cause speaks for the item; without the last event the cause would be fresher.
    assert changes.argmax() == 1 and changes[1] > 0.05
    assert changes[[0, 2]].max() < 0.001
    assert abs(found["user_change"][0]) < 1e-6, "this family reads no user"
    # The change is what the scoring signature says, asked twice.
    score = tf.saved_model.load(str(slist)).signatures["serving_default"]
    without = [question["history"][0], "", question["history"][2]]
    twice = score(
        user=tf.constant(["u1"] * 2),
        history=tf.constant([question["history"], without]),
        item=tf.constant([question["item"]] * 2),
    )["scores"].numpy()
    np.testing.assert_allclose(changes[1], twice[0] - twice[1], rtol=1e-4)
    np.testing.assert_allclose(found["score"][0], twice[0], rtol=1e-5)


def test_a_family_that_reads_the_user_alone_says_so(
    shop_artifacts: Any, tmp_path: Path, question: dict[str, Any]
) -> None:
    small = {"epochs": 1, "dimension": 8, "learning_rate": 0.01}
    model = trained(shop_artifacts, tmp_path, model="matrix_factorization", **small)
    found = asked(model, **{name: [value] for name, value in question.items()})
    assert np.abs(found["history_changes"]).max() < 1e-6
    assert abs(found["user_change"][0]) > 1e-3


@pytest.mark.parametrize("name", ["two_tower", "ranker"])
def test_a_feature_of_the_item_adds_what_the_score_lacks_without_it(
    shop_artifacts: Any, name: str
) -> None:
    graph = FeatureGraph(shop_artifacts.folder / "transform_graph")
    events = shop_artifacts.folder / "events" / "train"
    items = build_item_table(shop_artifacts.folder / "catalogue", events, graph=graph)
    entry = find_model(name)
    model = entry.build(items, entry.settings(), seed=1)
    random = np.random.default_rng(1)
    for variable in model.trainable_variables:  # so that nothing is zero
        variable.assign(random.normal(size=variable.shape, scale=0.3))
    asked = Recommender(model, items, graph=graph)
    # The first has the item in its history, twice; the last asks for an item that nobody knows.
    first, second = (items.names[row].decode() for row in (3, 7))
    user, history = ["u1", "u2", "u3"], [[first, second, first], ["", "", second], ["", "", ""]]
    found = asked.explain(
        *map(tf.constant, (user, history)), item=tf.constant([first, first, "ghost"])
    )
    features = [feature.decode() for feature in found["features"][0].numpy()]
    assert features[0] == "item" and len(features) > 2
    row = tf.constant([3, 3])
    for place, feature in enumerate(features):
        vectors = tf.tensor_scatter_nd_update(
            asked.vectors, row[:1, tf.newaxis], model.vectors_without(row[:1], feature)
        )
        rows = asked.rows(tf.constant(history[:2]))
        user_id = graph.layer({"user": tf.constant(user[:2])})["user_id"]
        without = model.score_all(user_id, rows, vectors, asked.bias).numpy()[:, 3]
        expected = found["score"].numpy()[:2] - without
        changes = found["feature_changes"].numpy()[:, place]
        np.testing.assert_allclose(changes[:2], expected, atol=1e-4)
        assert np.abs(changes[:2]).max() > 1e-3 and changes[2] == 0


def test_strangers_are_answered_and_a_moved_model_says_the_same(
    slist: Path, tmp_path: Path, question: dict[str, Any]
) -> None:
    rows = {
        "user": ["nobody", ""],
        "history": [["ghost", "", "ghost"], ["", "", ""]],
        "item": ["ghost", question["item"]],
    }
    found = asked(slist, **rows)
    assert all(np.isfinite(value).all() for value in found.values())
    assert np.abs(found["history_changes"]).max() < 1e-6
    moved = Path(shutil.copytree(slist, tmp_path / "moved"))
    one = {name: [value] for name, value in question.items()}
    for name, value in asked(moved, **one).items():
        np.testing.assert_array_equal(value, asked(slist, **one)[name])


def test_the_predictor_explains_over_both_protocols(
    slist: Path, tmp_path: Path, question: dict[str, Any]
) -> None:
    package = tmp_path / "shop" / "1"
    inner = Path(shutil.copytree(slist, package / "1"))
    (package / "requests.json").write_text('{"requests": []}')
    write_manifest(package, version=1, model_sha256=digest(inner))
    want = asked(slist, **{name: [value] for name, value in question.items()})
    options = ("--model_name", "shop", "--model_dir", str(package))
    with running_server("serving.predictor", *options) as client:
        # A shorter history is padded on the left; the changes end with the last event.
        rows = [question, question | {"history": question["history"][1:]}]
        body = {"signature_name": "explain", "instances": rows}
        first, second = client.post("/v1/models/shop:predict", json=body).json()["predictions"]
        np.testing.assert_allclose(first["history_changes"], want["history_changes"][0], atol=1e-5)
        assert second["history_changes"][0] == 0 and second["history_changes"][1] > 0
        inputs = [
            {"name": name, "datatype": "BYTES", "shape": shape, "data": data}
            for name, shape, data in (
                ("user", [1], ["u1"]),
                ("history", [1, 3], question["history"]),
                ("item", [1], [question["item"]]),
            )
        ]
        body = {"parameters": {"signature_name": "explain"}, "inputs": inputs}
        outputs = client.post("/v2/models/shop/infer", json=body).json()["outputs"]
        of_name = {output["name"]: output for output in outputs}
        assert of_name["history_changes"]["shape"] == [1, 3]
        changes = of_name["history_changes"]["data"]
        np.testing.assert_allclose(changes, want["history_changes"][0], atol=1e-5)
        for wrong, message in (
            ({"signature_name": "explain", "instances": [{"user": "u1"}]}, "item"),
            ({"signature_name": "explains", "instances": [question]}, "explain"),
        ):
            refused = client.post("/v1/models/shop:predict", json=wrong)
            assert refused.status_code == 400 and message in refused.text
