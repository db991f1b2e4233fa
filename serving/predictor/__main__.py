"""Serve a package: `python -m serving.predictor --model_name N --model_dir D --http_port P`."""

import os
import sys

# Set before anything imports TensorFlow: Keras 3, and no log line per CPU feature.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", os.environ.get("NVIDIA_VISIBLE_DEVICES", "-1"))

from serving.predictor.server import arguments, serve  # noqa: E402  # after the environment

if __name__ == "__main__":
    sys.exit(serve(arguments()))
