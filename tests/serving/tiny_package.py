"""A published package with a real SavedModel of a few items, small enough for every test.

The model's score of item i is i + 1 for i in 0..n-1 ("item0" … ), plus 100 for the item that
follows the last one of the history; so "item<n-1>" is the best without a history.
"""

import hashlib
import json
from pathlib import Path

import tensorflow as tf

_QUERY = (
    tf.TensorSpec([None], tf.string, name="user"),
    tf.TensorSpec([None, None], tf.string, name="history"),
)


class TinyModel(tf.Module):
    def __init__(self, items: int) -> None:
        super().__init__()
        self.n = items
        self.names = tf.constant([f"item{i}" for i in range(items)])
        keys = tf.lookup.KeyValueTensorInitializer(self.names, tf.range(items, dtype=tf.int64))
        self.table = tf.lookup.StaticHashTable(keys, -1)

    def scores(self, history: tf.Tensor) -> tf.Tensor:
        """Return [B, n] scores; "" in the history is padding."""
        base = tf.range(1, self.n + 1, dtype=tf.float32)[tf.newaxis, :]
        ids = self.table.lookup(history)
        position = tf.where(ids >= 0, tf.range(1, tf.shape(ids)[1] + 1)[tf.newaxis, :], 0)
        last = tf.argmax(position, axis=1)
        last_id = tf.gather(ids, last, batch_dims=1)
        following = tf.where(last_id >= 0, (last_id + 1) % self.n, -1)
        return base + 100.0 * tf.one_hot(following, self.n)

    @tf.function(input_signature=[*_QUERY, tf.TensorSpec([None], tf.int64, name="k")])
    def recommend(self, user, history, k):
        width = tf.minimum(tf.cast(tf.reduce_max(k), tf.int32), self.n)
        top = tf.math.top_k(self.scores(history), width)
        inside = tf.range(width)[tf.newaxis, :] < tf.cast(k, tf.int32)[:, tf.newaxis]
        items = tf.where(inside, tf.gather(self.names, top.indices), "")
        return {"items": items, "scores": tf.where(inside, top.values, -float("inf"))}

    @tf.function(input_signature=[*_QUERY, tf.TensorSpec([None], tf.string, name="item")])
    def score(self, user, history, item):
        ids = self.table.lookup(item)
        scores = tf.gather(self.scores(history), tf.maximum(ids, 0), batch_dims=1)
        return {"scores": tf.where(ids >= 0, scores, 0.0)}

    @tf.function(input_signature=[*_QUERY, tf.TensorSpec([None], tf.string, name="item")])
    def explain(self, user, history, item):
        """Return the score; nothing is said to have moved it."""
        score = self.score(user, history, item)["scores"]
        changes = tf.zeros(tf.shape(history))
        return {"score": score, "user_change": tf.zeros_like(score), "history_changes": changes}


def write_saved_model(folder: Path, *, items: int = 20) -> None:
    """Export the model with the contract's signatures."""
    model = TinyModel(items)
    signatures = {
        "serving_default": model.score,
        "recommend": model.recommend,
        "explain": model.explain,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)


def publish_tiny(store: Path, *, version: int = 1, items: int = 20) -> Path:
    """Write a blessed package and return its folder `<store>/shop/<version>`."""
    folder = store / "shop" / str(version)
    inner = folder / str(version)
    write_saved_model(inner, items=items)
    model_sha256 = digest(inner)
    body = {
        "signature_name": "recommend",
        "instances": [{"user": "u1", "history": ["item3"], "k": 3}],
    }
    # The follower of item3, then the two best of the rest.
    best = ["item4", f"item{items - 1}", f"item{items - 2}"]
    answer = {"items": best, "scores": [105.0, items, items - 1.0]}
    requests = [{"body": body, "answer": answer}]
    (folder / "requests.json").write_text(json.dumps({"requests": requests}))
    (folder / "MODEL_CARD.md").write_text("# tiny\n")
    write_manifest(folder, version=version, model_sha256=model_sha256)
    return folder


def write_manifest(folder: Path, *, version: int, model_sha256: str, blessed: bool = True) -> None:
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    manifest = {
        "name": "shop",
        "version": version,
        "created": "2026-01-01T00:00:00Z",
        "model_sha256": model_sha256,
        "files": files,
        "schema_sha256": "0" * 64,
        "blessing": {
            "blessed": blessed,
            "model_sha256": model_sha256,
            "thresholds": [],
            "reason": "",
        },
        "lineage": {"run": f"run-{version}"},
        "metrics": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def digest(folder: Path) -> str:
    """Return the tree digest of components/checksum.py, worked out on its own."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix())
        if path.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


if __name__ == "__main__":
    import sys

    # python tests/serving/tiny_package.py STORE VERSION [ITEMS]
    publish_tiny(Path(sys.argv[1]), version=int(sys.argv[2]), items=int(sys.argv[3] or 20))
