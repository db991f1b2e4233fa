"""InferenceServices of the stub server."""

import sys
from pathlib import Path
from typing import Any


def stub_service(name: str = "shop", **env: str) -> dict[str, Any]:
    """Return a service whose one container is the stub server with this environment."""
    container = {
        "name": "kserve-container",
        "command": [sys.executable, str(Path(__file__).with_name("stub_server.py"))],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container]}},
    }
