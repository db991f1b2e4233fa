from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.errors import InputError
from components.preprocess.features import FeaturePlan, plan_features, read_schema
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph

SCHEMA = """
feature { name: "user" type: BYTES }
feature { name: "item" type: BYTES }
feature { name: "time" type: INT time_domain { integer_format: UNIX_MICROSECONDS } }
feature { name: "price" type: FLOAT }
feature { name: "title" type: BYTES natural_language_domain {} }
feature { name: "brand" type: BYTES }
"""
ROWS = {
    "user": ["u1", "u1", "u1", "u2"],
    "item": ["a", "a", "b", "c"],
    "price": [1.0, 3.0, None, float("nan")],
    "title": ["Green Tea", "Green Tea", "green-house", None],
    "brand": ["X", "X", None, "Y"],
}


def write(folder: Path, **columns: object) -> Path:
    (folder / "train").mkdir(parents=True)
    pl.DataFrame(ROWS | columns).write_parquet(folder / "train" / "part-00000.parquet")
    (folder / "schema.pbtxt").write_text(SCHEMA)
    return folder


def fit(folder: Path, **settings: int) -> int:
    return fit_transform_graph(
        events_dir=folder,
        schema_path=folder / "schema.pbtxt",
        transform_graph_dir=folder / "graph",
        settings=PreprocessSettings(**settings),
        beam_options=["--runner=DirectRunner"],
    )


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    folder = write(tmp_path_factory.mktemp("events"))
    assert fit(folder, oov_buckets=2, numeric_buckets=2, batch_rows=3) == 4
    return tft.TFTransformOutput(str(folder / "graph"))


def test_a_vocabulary_is_ordered_by_frequency_and_unknowns_come_after_it(
    graph: tft.TFTransformOutput,
) -> None:
    ids = graph.transform_features_layer()({"item": tf.constant(["a", "c", "ghost", ""])})[
        "item_id"
    ]
    # Three entries; "a" is bought most. Two OOV buckets: 3 and 4.
    assert ids[0] == 0 and ids[1] in (1, 2)
    assert set(ids[2:].numpy()) <= {3, 4}


def test_a_missing_category_is_unknown_and_not_an_entry(graph: tft.TFTransformOutput) -> None:
    assert graph.vocabulary_by_name("brand") == [b"X", b"Y"]


def test_text_becomes_lower_case_words_and_pairs(graph: tft.TFTransformOutput) -> None:
    assert set(graph.vocabulary_by_name("title")) == {
        b"green", b"tea", b"house", b"green tea", b"green house",
    }  # fmt: skip
    # "green" is in three rows: the most frequent.
    assert graph.vocabulary_by_name("title")[0] == b"green"
    layer = graph.transform_features_layer()
    tokens = tf.sparse.to_dense(layer({"title": tf.constant(["TEA", ""])})["title_tokens"], -1)
    assert tokens.numpy().tolist() == [[graph.vocabulary_by_name("title").index(b"tea")], [-1]]


def test_numbers_are_standardised_over_what_is_there(graph: tft.TFTransformOutput) -> None:
    price = tf.SparseTensor([[0, 0], [1, 0]], [1.0, 3.0], [3, 1])
    out = graph.transform_features_layer()({"price": price})
    # Of 1, 3, null and NaN two count: mean 2, standard deviation 1. The third row is missing: 0.
    np.testing.assert_allclose(out["price_z"], [-1.0, 1.0, 0.0])
    assert out["price_bucket"].numpy().tolist() == [1, 2, 0]


def test_vocabularies_are_cut_by_size_and_frequency(tmp_path: Path) -> None:
    fit(write(tmp_path), vocabulary_size=4, min_frequency=2, ngrams=1)
    output = tft.TFTransformOutput(str(tmp_path / "graph"))
    assert output.vocabulary_by_name("item") == [b"a"]  # b and c are bought once
    assert set(output.vocabulary_by_name("title")) == {b"green", b"tea"}


def test_the_schema_decides_the_treatment(tmp_path: Path) -> None:
    assert plan_features(read_schema(write(tmp_path) / "schema.pbtxt")) == FeaturePlan(
        ids=("user", "item"), categorical=("brand",), text=("title",), numeric=("price",)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("feature {", "Schema text proto"),
        ('feature { name: "user" type: BYTES }', "schema feature item: found no such feature"),
        ('feature { name: "user" type: INT }', "schema feature user: found INT, expected type BYT"),
    ],
)
def test_a_wrong_schema_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (write(tmp_path) / "schema.pbtxt").write_text(text)
    with pytest.raises(InputError, match=message):
        fit(tmp_path)


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path) / "train" / "part-00000.parquet"
    pl.read_parquet(file).drop("brand").write_parquet(file)
    with pytest.raises(InputError, match="column brand: found no such column"):
        fit(tmp_path)


def test_a_wrong_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column price: found .*string, expected a number"):
        fit(write(tmp_path, price=["1", "2", "3", "4"]))


def test_a_corrupt_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path) / "train" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(InputError, match="part-00000.parquet: .*a readable Parquet file"):
        fit(tmp_path)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path) / "train" / "part-00000.parquet"
    pl.read_parquet(file).head(0).write_parquet(file)
    with pytest.raises(InputError, match="0 rows, expected at least one event"):
        fit(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="no Parquet file"):
        fit(tmp_path)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="preprocess setting ngrams: found 0, expected at least 1"):
        PreprocessSettings(ngrams=0)
