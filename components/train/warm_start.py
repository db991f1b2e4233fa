"""Going on from the model in service when the vocabulary has grown.

What was learned about a user, an item, a category or a word is a row of a table; which row, the
vocabulary of its time says. Rows are carried over by their key into the rows of today's vocabulary.
A key that is new keeps the row that the model starts it with, and so does an out-of-vocabulary
bucket when their number has changed (else it holds the same keys: its number is their hash). What
has no row per key is copied. The optimizer starts fresh.
"""

import contextlib
import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tensorflow.python.checkpoint.trackable_view import TrackableView
from tensorflow.python.trackable.base import Trackable

from components.checksum import tree_digest
from components.errors import InputError
from components.live_model import fetch_package
from components.quantised_tables import widened
from components.train.closed_form import ClosedForm
from components.train.retrieval import Retrieval, Stepped
from components.train.settings import WarmStart
from components.train.tables import FeatureGraph

RECORD = "assets.extra/training.json"
_KEY = "model/{}/.ATTRIBUTES/VARIABLE_VALUE"
_log = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class Mismatch(InputError):
    """A model that was trained is not one that this training can go on from."""


@dataclasses.dataclass(frozen=True)
class Carried:
    """What a training began with.

    Attributes:
        source: URI of the package.
        rows: Rows carried over and rows there are, by vocabulary.
    """

    source: str
    rows: Mapping[str, tuple[int, int]]

    def sentence(self) -> str:
        """Say it in one line."""
        shares = (f"{old:,} of {of:,} {name} rows" for name, (old, of) in self.rows.items())
        return f"Went on from {self.source}: {', '.join(shares) or 'no table has a row per key'}."


@dataclasses.dataclass(frozen=True)
class Earlier:
    """An earlier model, fetched.

    Attributes:
        folder: Its SavedModel.
        settings: Where it came from, and what to do when it does not fit.
        name: What it should be, a name in the registry.
        digest: SHA-256 of its files.
    """

    folder: Path
    settings: WarmStart
    name: str
    digest: str


def variable_names(model: Retrieval) -> dict[str, keras.Variable]:
    """Return the weights that training changes, by their names in a SavedModel."""
    wanted = {id(variable) for variable in model.trainable_variables}
    found: dict[str, keras.Variable] = {}
    seen, waiting = {id(model)}, [("", model)]
    for name, part in waiting:
        if id(part) in wanted:
            found[name] = part
            continue
        for child, value in _children(part).items():
            if id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{name}/{child}".lstrip("/"), value))
    if len(found) != len(wanted):
        raise RuntimeError(f"{len(wanted)} weights, of which {len(found)} have a name")
    return found


def _children(part: Any) -> Mapping[str, Any]:
    """Return what a SavedModel holds below a part, by name; it sees into dicts and lists, too."""
    if not isinstance(part, Trackable):
        return {}
    return dict(TrackableView(part).children(part, save_type="savedmodel"))


def write_record(model: Retrieval, model_dir: Path, *, name: str) -> None:
    """Write beside the SavedModel which model it is, and which tables have a row per key of what.

    Args:
        model: The trained model.
        model_dir: Its SavedModel.
        name: Its name in the registry.
    """
    feature_of = {id(variable): feature for variable, feature in model.tables()}
    tables = {
        path: feature_of[id(variable)]
        for path, variable in variable_names(model).items()
        if id(variable) in feature_of
    }
    file = model_dir / RECORD
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model": name, "tables": tables}, indent=1, sort_keys=True)
    file.write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def fetch_earlier(settings: WarmStart, *, name: str) -> Iterator[Earlier | None]:
    """Fetch the model that a training is to go on from; None when it begins anew.

    The copy lies in a temporary folder until the context ends.

    Args:
        settings: Which package, and what to do when it does not fit.
        name: The model's name in the registry.

    Raises:
        InputError: If the package cannot be read or is not what its manifest says.
    """
    if not settings.package_uri:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="shopflow-warm-start-") as scratch:
        folder = fetch_package(settings.package_uri, target=Path(scratch))
        yield Earlier(folder, settings, name, tree_digest(folder))


def carry_over(
    earlier: Earlier, model: Stepped | ClosedForm, graph: FeatureGraph
) -> Carried | None:
    """Put what an earlier model has learned into one that has learned nothing.

    Args:
        earlier: The earlier model.
        model: The new one, as it is built; nothing of it is changed unless all weights fit.
        graph: Its transform graph.

    Returns:
        What was carried over; None when the training begins anew, by the policy.

    Raises:
        InputError: If it does not fit and the policy is to refuse: it is of another model, a weight
            is missing or of another shape, or the new model is one that is fitted at once.
    """
    uri = earlier.settings.package_uri
    try:
        if isinstance(model, ClosedForm):
            raise Mismatch(
                "warm_start", f"{uri} for {earlier.name}, which is fitted at once",
                "a model that learns by steps",
            )  # fmt: skip
        carried = Carried(uri, _carry_over(earlier.folder, model, graph, earlier.name, where=uri))
    except Mismatch as mismatch:
        if earlier.settings.on_mismatch == "refuse":
            raise
        _log.warning("train: starting anew, because %s", mismatch)
        return None
    _log.info("train: %s", carried.sentence())
    return carried


def _carry_over(
    folder: Path, model: Stepped, graph: FeatureGraph, name: str, *, where: str
) -> dict[str, tuple[int, int]]:
    """Carry weights over; return rows carried over and rows there are, by vocabulary."""
    tables = _read_record(folder, name=name, where=where)
    saved = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    feature_of = {id(variable): feature for variable, feature in model.tables()}
    places: dict[str, Places] = {}
    values: list[tuple[keras.Variable, Array]] = []
    for path, variable in variable_names(model).items():
        if not saved.has_tensor(_KEY.format(path)):
            raise Mismatch(f"{where}, {path}", "no such weight", f"one {tuple(variable.shape)}")
        old, new = widened(saved.get_tensor(_KEY.format(path))), np.array(variable)
        feature = feature_of.get(id(variable))
        if feature is None:
            _same_shape(old.shape, new.shape, f"{where}, {path}")
            new = old
        else:
            if tables.get(path) != feature:
                raise Mismatch(f"{where}, {path}", f"rows by {tables.get(path)}", f"by {feature}")
            _same_shape(old.shape[1:], new.shape[1:], f"{where}, a row of {path}")
            if feature not in places:
                places[feature] = _places(folder, graph, feature, old_rows=len(old))
            here, there = places[feature]
            new[here] = old[there]
        values.append((variable, new))
    for variable, value in values:
        variable.assign(value)
    return {feature: (len(here), graph.size(feature)) for feature, (here, _) in places.items()}


def _read_record(folder: Path, *, name: str, where: str) -> dict[str, Any]:
    """Return the tables of a model of this name, each with what its rows are."""
    file = folder / RECORD
    if not file.is_file():
        raise Mismatch(where, f"no {RECORD}", "a model that says what its tables are")
    record = json.loads(file.read_text(encoding="utf-8"))
    if record["model"] != name:
        raise Mismatch(where, f"a model {record['model']}", name)
    return dict(record["tables"])


def _same_shape(old: tuple[int, ...], new: tuple[int, ...], where: str) -> None:
    if tuple(old) != tuple(new):
        raise Mismatch(where, f"the shape {tuple(old)}", f"{tuple(new)}")


def _places(folder: Path, graph: FeatureGraph, feature: str, *, old_rows: int) -> Places:
    """Return rows of today's table and the rows of the saved one that have the same key."""
    lines = (folder / "assets" / feature).read_bytes().removesuffix(b"\n").split(b"\n")
    old = pa.array(lines, pa.large_binary())
    new = pa.array(graph.entries(feature), pa.large_binary())
    found = pc.index_in(new, value_set=old)
    here = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    there = found.drop_null().to_numpy().astype(np.int64)
    buckets = old_rows - len(old)
    if buckets == graph.oov_buckets:
        here = np.append(here, len(new) + np.arange(buckets))
        there = np.append(there, len(old) + np.arange(buckets))
    return here, there
