"""Models that compute the same are one model, however TensorFlow wrote them down."""

import pytest
import tensorflow as tf

from components.checksum import tree_digest
from components.model_identity import model_identity


class Scorer(tf.Module):
    """A table, a variable and a nested function: what a real model is made of."""

    def __init__(self, vocabulary, *, weight=2.0, turned=False, offset=1.0, scope="score"):
        super().__init__()
        lines = tf.lookup.TextFileInitializer(
            str(vocabulary),
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(lines, default_value=-1)
        self.weight = tf.Variable(weight)
        self.turned, self.offset, self.scope = turned, offset, scope

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "item")])
    def score(self, item):
        return {"scores": self.inner(tf.cast(self.table.lookup(item), tf.float32))}

    @tf.function
    def inner(self, row):
        with tf.name_scope(self.scope):
            product = row * self.weight
            return self.offset - product if self.turned else product - self.offset


@pytest.fixture
def save(tmp_path):
    """Saves a Scorer; its vocabulary lies somewhere else each time."""
    count = iter(range(100))

    def save(entries="tea\ncoffee\n", **settings):
        folder = tmp_path / str(next(count))
        folder.mkdir()
        (folder / "vocabulary").write_text(entries, encoding="utf-8")
        model = Scorer(folder / "vocabulary", **settings)
        tf.saved_model.save(model, str(folder / "model"), signatures={"score": model.score})
        return folder / "model"

    return save


def test_a_model_saved_again_is_the_same_although_its_files_are_not(save):
    first, second = save(), save()
    assert tree_digest(first) != tree_digest(second)
    assert model_identity(first) == model_identity(second)


def test_names_inside_the_graph_do_not_count(save):
    assert model_identity(save()) == model_identity(save(scope="renamed"))


@pytest.mark.parametrize(
    "change",
    [{"weight": 2.5}, {"turned": True}, {"offset": 1.5}, {"entries": "coffee\ntea\n"}],
    ids=str,
)
def test_what_changes_an_answer_changes_the_identity(save, change):
    assert model_identity(save()) != model_identity(save(**change))


def test_a_folder_without_a_model_has_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved_model\.pb"):
        model_identity(tmp_path)
