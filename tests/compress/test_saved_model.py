import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.compress.formats import FORMATS
from components.compress.saved_model import write_smaller
from components.compress.tflite import write_tflite
from components.errors import InputError
from components.quantised_tables import widened
from tests.compress.conftest import ITEMS, WIDTH

HISTORY = [[f"i{n * m % ITEMS}" for m in (3, 7, 7)] for n in range(20)] + [["", "", "ghost"]]
USER = tf.constant(["u"] * len(HISTORY))


def answers(folder: Path) -> dict[str, np.ndarray]:
    signatures = tf.saved_model.load(str(folder)).signatures
    asked = {"user": USER, "history": tf.constant(HISTORY)}
    item, k = tf.constant(["i5"] * len(HISTORY)), tf.constant([4] * len(HISTORY), tf.int64)
    found = {
        **signatures["recommend"](**asked, k=k),
        "own": signatures["serving_default"](**asked, item=item)["scores"],
        "rank": signatures["evaluate"](**asked, item=item)["rank"],
    }
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.fixture(scope="module", params=sorted(FORMATS))
def smaller(request, model_dir, tmp_path_factory):
    target = tmp_path_factory.mktemp("smaller") / "model"
    tables = write_smaller(model_dir, target, table_format=FORMATS[request.param])
    return request.param, target, tables


def test_every_signature_answers_from_the_stored_tables(model_dir, smaller, tmp_path):
    name, target, _ = smaller
    # The same model with its tables rounded as they are stored, computed in float32 all along.
    shutil.copytree(model_dir, tmp_path / "rounded")
    loaded = tf.saved_model.load(str(tmp_path / "rounded"))
    for table in (loaded.read, loaded.found, loaded.weights):
        table.assign(widened(FORMATS[name].store(table.numpy())))
    tf.saved_model.save(loaded, str(tmp_path / "again"), signatures=dict(loaded.signatures))
    expected, found = answers(tmp_path / "again"), answers(target)
    for answer in ("scores", "own", "rank"):
        np.testing.assert_allclose(found[answer], expected[answer], rtol=1e-4, atol=1e-4)
    assert found["items"].tolist() == expected["items"].tolist()
    # And what was rounded is near what was trained.
    trained = answers(model_dir)["scores"]
    assert np.abs(found["scores"] - trained).max() < 0.01 * np.abs(trained).max()


def test_only_tables_are_stored_smaller_and_keep_their_names(smaller):
    name, target, tables = smaller
    assert {one.name: one.smaller for one in tables} == {
        "read": True, "found": True, "weights": True, "bias": False,
    }  # fmt: skip
    stored = tf.train.load_checkpoint(str(target / "variables" / "variables"))
    table = stored.get_tensor("read/.ATTRIBUTES/VARIABLE_VALUE")
    assert table.dtype == FORMATS[name].dtype.as_numpy_dtype
    assert widened(table).shape == (ITEMS, WIDTH)


def test_the_file_holds_the_tables_once_and_smaller(model_dir, smaller):
    name, target, _ = smaller
    before, after = (
        (folder / "variables" / "variables.data-00000-of-00001").stat().st_size
        for folder in (model_dir, target)
    )
    # 300 × (24 + 24 + 300) numbers of 4 bytes; int8 has 4 bytes of scale for each of 900 rows.
    assert after / before < {"float16": 0.52, "int8": 0.30}[name]


def test_what_lies_beside_the_model_comes_along(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "with")
    (tmp_path / "with" / "assets.extra").mkdir()
    (tmp_path / "with" / "assets.extra" / "note.json").write_text("{}")
    write_smaller(tmp_path / "with", tmp_path / "smaller", table_format=FORMATS["int8"])
    assert (tmp_path / "smaller" / "assets.extra" / "note.json").read_text() == "{}"


def test_what_cannot_be_stored_is_refused_and_leaves_nothing(model_dir, tmp_path):
    with pytest.raises(InputError, match=r"no saved_model\.pb"):
        write_smaller(tmp_path, tmp_path / "out", table_format=FORMATS["int8"])
    loaded = tf.saved_model.load(str(model_dir))
    loaded.read.assign(loaded.read.numpy() * np.nan)
    tf.saved_model.save(loaded, str(tmp_path / "nan"), signatures=dict(loaded.signatures))
    with pytest.raises(InputError, match="table read: found a number that is not finite"):
        write_smaller(tmp_path / "nan", tmp_path / "out", table_format=FORMATS["int8"])
    assert not (tmp_path / "out").exists()


def test_tflite_is_written_where_it_answers_alike_and_its_absence_has_a_reason(model_dir, tmp_path):
    class Numbers(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def score(self, x):
            return {"scores": tf.reduce_sum(x * x, axis=1)}

    numbers = Numbers()
    tf.saved_model.save(numbers, str(tmp_path / "n"), signatures={"serving_default": numbers.score})
    file = tmp_path / "extra" / "model.tflite"
    assert write_tflite(tmp_path / "n", file) == ""
    runner = tf.lite.Interpreter(str(file)).get_signature_runner("serving_default")
    assert runner(x=np.array([[1, 2, 3]], np.float32))["scores"].tolist() == [14.0]

    reason = write_tflite(model_dir, tmp_path / "none.tflite")
    assert reason == "TFLite has no SparseTensorDenseMatMul"
    assert not (tmp_path / "none.tflite").exists()
