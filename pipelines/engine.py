"""The process a local run happens in: `kfp.local` on one pipeline, its log on standard output."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from kfp import local

import components  # noqa: F401 - it ties this process to the life of the run
from pipelines.step_settings import PipelineSettings


def execute(module: str, function: str, arguments: dict[str, Any], *, root: Path) -> None:
    """Run a pipeline under `kfp.local`; each step is a process of this Python.

    Args:
        module: Module of the function that builds the pipeline.
        function: Its name; it takes `PipelineSettings`.
        arguments: Pipeline parameters by name.
        root: Folder for the run's artifacts.

    Raises:
        RuntimeError: If a step failed.
    """
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    pipeline = getattr(importlib.import_module(module), function)(PipelineSettings(max_retries=0))
    pipeline(**arguments)


if __name__ == "__main__":
    try:
        execute(sys.argv[1], sys.argv[2], json.load(sys.stdin), root=Path(sys.argv[3]))
    except RuntimeError:
        # kfp has already logged which step failed, and the step why.
        sys.exit(1)
