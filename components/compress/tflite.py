"""A TFLite file of a model's scores, where TFLite can run the model's operations."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

_SIGNATURE = "serving_default"
_OTHER_OPERATION = re.compile(r"'tf\.(\w+)' op is neither")
FILE = "assets.extra/model.tflite"


def write_tflite(model_dir: Path, target: Path) -> str:
    """Convert the `serving_default` signature to TFLite's own operations, and try the file.

    TF Select would convert more. Its operations need a runtime with TensorFlow's kernels linked
    in, which TensorFlow's own interpreter in Python has not: such a file could not be tried here,
    and what was not tried is not handed on.

    Args:
        model_dir: The SavedModel.
        target: File to write.

    Returns:
        "" when it was written, else why it is not possible.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(model_dir), signature_keys=[_SIGNATURE]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
        differs = _differs(content, model_dir)
    except (ConverterError, RuntimeError, ValueError) as error:
        return _reason(str(error))
    if differs:
        return differs
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return ""


def _reason(error: str) -> str:
    others = sorted(set(_OTHER_OPERATION.findall(error)))
    if others:
        return f"TFLite has no {', '.join(others)}"
    return error.strip().splitlines()[0][:200] if error.strip() else "it was not converted"


def _differs(content: bytes, model_dir: Path) -> str:
    """Return in what the file's answer to one request is not the model's; "" when it is."""
    signature = tf.saved_model.load(str(model_dir)).signatures[_SIGNATURE]
    request = {
        name: np.full([size or 1 for size in spec.shape], b"" if spec.dtype == tf.string else 1,
                      spec.dtype.as_numpy_dtype)
        for name, spec in signature.structured_input_signature[1].items()
    }  # fmt: skip
    expected = signature(**{name: tf.constant(value) for name, value in request.items()})
    runner = tf.lite.Interpreter(model_content=content).get_signature_runner(_SIGNATURE)
    for name, answer in runner(**request).items():
        if not np.allclose(answer, expected[name], rtol=1e-3, atol=1e-4):
            return f"its {name} are {answer.ravel()[:3]} where the model's are {expected[name]}"
    return ""
