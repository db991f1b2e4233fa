"""Bringing a model package to the machine that serves it, as KServe's storage initialiser does."""

import shutil
from pathlib import Path

from serving.platform.interface import PlatformError


def materialise(uri: str, into: Path) -> Path:
    """Return a local folder with the package; a local URI is used where it lies.

    Args:
        uri: A folder, file:// or gs:// URI (STORAGE_EMULATOR_HOST is honoured).
        into: Folder that belongs to this package; a copy that is already there is used again.

    Raises:
        PlatformError: If there is nothing at the URI, it cannot be read, or its scheme is unknown.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "gs":
        return into if into.is_dir() else _download(uri, rest, into)
    if separator and scheme != "file":
        raise PlatformError(f"storageUri: found {uri!r}, expected a folder, file:// or gs://")
    folder = Path(rest if separator else uri)
    if not folder.is_dir():
        raise PlatformError(f"storageUri: found no folder {folder}, expected a model package")
    return folder


def _download(uri: str, rest: str, into: Path) -> Path:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage

    bucket, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/") + "/"
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        blobs = [
            blob
            for blob in storage.Client().list_blobs(bucket, prefix=prefix)
            if not blob.name.endswith("/")
        ]
        if not blobs:
            raise PlatformError(f"storageUri: found nothing under {uri}, expected a model package")
        for blob in blobs:
            target = part / blob.name.removeprefix(prefix)
            if not target.resolve().is_relative_to(part.resolve()):
                raise PlatformError(f"storageUri: found object {blob.name!r}, expected no '..'")
            target.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(str(target))
        part.replace(into)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        reason = " ".join(str(error).split())
        raise PlatformError(f"storageUri: {uri} cannot be read: {reason}") from error
    return into
