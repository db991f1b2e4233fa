"""Requests that travel with a model: golden ones with its answers, and TF Serving's warm-up."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components.errors import InputError

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def answer_requests(
    saved_model_dir: Path, bodies: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the model's own answers, one prediction per request of one instance.

    Raises:
        InputError: If the model has no `recommend` signature.
    """
    model = tf.saved_model.load(str(saved_model_dir))
    if "recommend" not in model.signatures:
        raise InputError(str(saved_model_dir), str(list(model.signatures)), "a recommend signature")
    recommend = model.signatures["recommend"]
    answers = []
    for body in bodies:
        answer = recommend(**_tensors(body["instances"][0]))
        items = [item.decode() for item in answer["items"].numpy()[0]]
        answers.append({"items": items, "scores": answer["scores"].numpy()[0].tolist()})
    return answers


def write_warmup(path: Path, *, name: str, bodies: Sequence[Mapping[str, Any]]) -> None:
    """Write TF Serving's warm-up file: a TFRecord of PredictionLog.

    Args:
        path: `<model>/assets.extra/tf_serving_warmup_requests`.
        name: Name the model is served under.
        bodies: v1 request bodies of one instance each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for body in bodies:
            inputs = {
                key: tf.make_tensor_proto(value)
                for key, value in _tensors(body["instances"][0]).items()
            }
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name=body["signature_name"]),
                inputs=inputs,
            )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString(deterministic=True))


def write_requests(
    path: Path, bodies: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
) -> None:
    """Write requests.json: each golden request with the answer the model gave when packaged."""
    pairs = [{"body": b, "answer": a} for b, a in zip(bodies, answers, strict=True)]
    path.write_text(json.dumps({"requests": pairs}, indent=1) + "\n", encoding="utf-8")


def _tensors(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "user": tf.constant([instance["user"]]),
        "history": tf.constant(
            np.array([instance["history"]], dtype=object).reshape(1, -1), tf.string
        ),
        "k": tf.constant([instance["k"]], tf.int64),
    }
