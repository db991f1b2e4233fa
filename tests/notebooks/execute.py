"""Executes the notebooks top to bottom; `make notebooks` keeps what they put out."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from serving.platform import connect
from tests.pipelines.argo import task
from tests.pipelines.kfp_server import KfpServer

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SERVICE = "my-shop"
STEPS = {
    "ingest": 14, "preprocess": 61, "train": 418, "evaluate": 96, "package": 12, "deploy": 47,
    "shadow": 9, "rollout": 1804,
}  # fmt: skip
_CELL_TIMEOUT_S = 1200


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A folder for the notebooks and all they make; the service they leave is stopped."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            connect(f"local:{folder / 'workspace' / 'serving'}").delete(SERVICE)


@contextmanager
def kubeflow_server() -> Iterator[KfpServer]:
    """The tests' server; it says of each run that its steps go by, one at every look."""
    server, tasks, clock = KfpServer(), [], 1
    server.reports = [("PENDING", [])]
    for name, seconds in STEPS.items():
        server.reports.append(("RUNNING", [*tasks, task(name, "RUNNING", clock)]))
        tasks.append(task(name, "SUCCEEDED", clock, clock + seconds))
        clock += seconds
    server.reports.append(("SUCCEEDED", tasks))
    try:
        yield server
    finally:
        server.stop()


def execute(notebook: Path, folder: Path, **environment: str) -> nbformat.NotebookNode:
    """Run a copy of a notebook in a folder.

    Args:
        notebook: The notebook.
        folder: Where its kernel runs; what other notebooks left there, it finds.
        environment: Variables besides those of this process.

    Returns:
        The notebook with its new outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell failed.
    """
    shutil.copy(notebook, folder)
    found = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        found,
        timeout=_CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    own = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython")}
    client.execute(env={**os.environ, **own, **environment})
    return found


def main() -> None:
    """Execute the notebooks, or those whose numbers are given, and write them back."""
    with fresh_folder() as folder, kubeflow_server() as server:
        for notebook in NOTEBOOKS:
            if not sys.argv[1:] or notebook.name[0] in sys.argv[1:]:
                done = execute(notebook, folder, KF_PIPELINES_ENDPOINT=server.host)
                done.metadata.pop("widgets", None)
                nbformat.write(done, notebook)
                print(notebook.relative_to(ROOT))


if __name__ == "__main__":
    main()
