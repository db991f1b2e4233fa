"""Parquet files of a folder, on this machine or on gs://, with the version of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from serving.manifest import ManifestError, read_object, verify_bytes

_MANIFEST = "manifest.json"


class FilesError(ValueError):
    """The files cannot be read; the message is one line."""


class Files(Protocol):
    """Files that other programs write."""

    def versions(self) -> Mapping[str, str]:
        """Return a text per file that is another one when the file has changed.

        Raises:
            FilesError: If the place cannot be listed, or holds no Parquet file.
        """
        ...

    def read(self, name: str) -> bytes:
        """Return the contents of a file.

        Raises:
            FilesError: If it cannot be read.
        """
        ...


@dataclass(frozen=True)
class LocalFiles:
    """A Parquet file, or those below a folder."""

    path: Path

    def versions(self) -> Mapping[str, str]:
        """See `Files.versions`; the version is the time of the last change, and the size."""
        try:
            versions = {str(path): _stat(path) for path in self._paths()}
        except OSError as error:
            raise FilesError(f"{self.path}: cannot be read: {error.strerror}") from error
        return _with_parquet(versions, str(self.path))

    def read(self, name: str) -> bytes:
        """See `Files.read`."""
        try:
            return Path(name).read_bytes()
        except OSError as error:
            raise FilesError(f"{name}: cannot be read: {error.strerror}") from error

    def _paths(self) -> list[Path]:
        if self.path.is_dir():
            return sorted(path for path in self.path.rglob("*") if _wanted(path.name))
        return [self.path] if self.path.is_file() else []


class GcsFiles:
    """A Parquet object, or those below a prefix (STORAGE_EMULATOR_HOST is honoured)."""

    def __init__(self, uri: str) -> None:
        """Connect with the credentials of the environment.

        Args:
            uri: gs://bucket/prefix.
        """
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        self._uri = uri
        bucket, _, self._prefix = uri.removeprefix("gs://").partition("/")
        try:
            self._bucket: Any = storage.Client().bucket(bucket)
        except (GoogleAuthError, OSError, ValueError) as error:
            raise FilesError(f"{uri}: cannot be opened: {_line(error)}") from error

    def versions(self) -> Mapping[str, str]:
        """See `Files.versions`; the version is the object's ETag and generation."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        folder = f"{self._prefix.rstrip('/')}/" if self._prefix else ""
        try:
            versions = {
                blob.name: f"{blob.etag} {blob.generation} {blob.md5_hash}"
                for blob in self._bucket.list_blobs(prefix=self._prefix or None)
                if _wanted(blob.name.rpartition("/")[2])
                and (blob.name == self._prefix or blob.name.startswith(folder))
            }
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            raise FilesError(f"{self._uri}: cannot be listed: {_line(error)}") from error
        return _with_parquet(versions, self._uri)

    def read(self, name: str) -> bytes:
        """See `Files.read`."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            return bytes(self._bucket.blob(name).download_as_bytes())
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            raise FilesError(f"gs object {name}: cannot be read: {_line(error)}") from error


def open_files(uri: str) -> Files:
    """Return the files a local path, file:// or gs:// URI names.

    Raises:
        FilesError: If the URI has another scheme.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "gs":
        return GcsFiles(uri)
    if separator and scheme != "file":
        raise FilesError(f"{uri[:200]!r}: found scheme {scheme!r}, expected a path, file or gs")
    return LocalFiles(Path(rest if separator else uri))


def read_table(files: Files, versions: Mapping[str, str], columns: list[str]) -> pa.Table:
    """Read some columns of all Parquet files, verified where a manifest.json is beside them.

    Args:
        files: Where they are.
        versions: What `files.versions()` said.
        columns: Columns every file must have.

    Raises:
        FilesError: If a file is altered, no Parquet, or lacks a column.
    """
    manifests = {name for name in versions if name.endswith(_MANIFEST)}
    published: dict[str, Any] = {}
    try:
        for name in sorted(manifests):
            entries = read_object(files.read(name), name).get("files", {})
            folder = name.removesuffix(_MANIFEST)
            published |= {folder + relative: entry for relative, entry in entries.items()}
        missing = {n for n in published if n.endswith(".parquet")} - versions.keys()
        if missing:
            raise FilesError(f"{min(missing)}: found nothing, the manifest lists it")
        tables = []
        for name in sorted(versions.keys() - manifests):
            content = files.read(name)
            if name in published:
                verify_bytes(name, content, published[name])
            elif manifests:
                raise FilesError(f"{name}: found a file which the manifest does not list")
            tables.append(_parsed(name, content, columns))
        return pa.concat_tables(tables, promote_options="permissive")
    except (ManifestError, AttributeError, pa.ArrowException) as error:
        raise FilesError(_line(error)) from error


def _parsed(name: str, content: bytes, columns: list[str]) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if absent := [column for column in columns if column not in file.schema_arrow.names]:
            raise FilesError(
                f"{name}: found columns {file.schema_arrow.names[:20]}, expected {absent[0]!r}"
            )
        return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise FilesError(f"{name}: found no Parquet file: {_line(error)}") from error


def _wanted(name: str) -> bool:
    return name == _MANIFEST or name.endswith(".parquet")


def _with_parquet(versions: Mapping[str, str], where: str) -> Mapping[str, str]:
    if not any(name.endswith(".parquet") for name in versions):
        raise FilesError(f"{where}: found no .parquet file, expected at least one")
    return versions


def _stat(path: Path) -> str:
    status = path.stat()
    return f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
