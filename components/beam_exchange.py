"""The folder through which a step and Beam's workers, which may be elsewhere, exchange files.

A step's artifacts are local paths, which only workers in the step's own process see. What workers
read is therefore put under `--temp_location` first, and what they write is fetched from there.
"""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from components.beam_runner import has_workers_elsewhere
from components.object_store import download_tree, open_store, upload_tree


class Exchange:
    """Files in the sight of the workers of one pipeline."""

    def __init__(self, folder: str, *, elsewhere: bool) -> None:
        """Use a folder of this pipeline's own.

        Args:
            folder: Path or gs:// prefix that step and workers see.
            elsewhere: Whether workers see nothing else of the step's.
        """
        self._folder, self._elsewhere = folder, elsewhere

    def path(self, name: str) -> str:
        """Return where something temporary called `name` is written."""
        return f"{self._folder}/{name}"

    def give(self, source: Path, name: str) -> str:
        """Return where workers read the local file or folder `source`."""
        if not self._elsewhere:
            return str(source)
        store = open_store(self._folder)
        if source.is_dir():
            upload_tree(store, source, prefix=name)
        else:
            store.upload(source, name)
        return self.path(name)

    @contextlib.contextmanager
    def take(self, target: Path, name: str) -> Iterator[str]:
        """Give where workers write; on leaving, what they wrote is in the local folder `target`."""
        if not self._elsewhere:
            yield str(target)
            return
        yield self.path(name)
        download_tree(open_store(self._folder), name, target=target)

    def clean_up(self) -> None:
        """Remove everything that was exchanged."""
        if self._folder.startswith("/"):
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        store = open_store(self._folder)
        for name in store.names():
            store.delete(name)


@contextlib.contextmanager
def exchange(options: PipelineOptions) -> Iterator[Exchange]:
    """Give the exchange of one pipeline, whose files are removed afterwards, also when it fails.

    Args:
        options: The pipeline's; its temp_location is where a folder is made.
    """
    elsewhere = has_workers_elsewhere(options)
    location = options.view_as(GoogleCloudOptions).temp_location
    with tempfile.TemporaryDirectory() as scratch:
        if not location:
            yield Exchange(scratch, elsewhere=False)
            return
        folder = f"{location.rstrip('/')}/shopflow-{uuid.uuid4().hex}"
        files = Exchange(folder, elsewhere=elsewhere)
        try:
            yield files
        finally:
            files.clean_up()
