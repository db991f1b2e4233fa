"""A folder's manifest.json: the SHA-256 and size of its files as they were published."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ManifestError(ValueError):
    """A file is not what was published; the message is one line."""


def read_object(content: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        content: The JSON text.
        where: The file, for the message.

    Raises:
        ManifestError: If it is anything else.
    """
    try:
        decoded = json.loads(content)
    except ValueError as error:
        raise ManifestError(f"{where}: found no JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ManifestError(f"{where}: found {type(decoded).__name__}, expected a JSON object")
    return decoded


def verify_file(file: Path, *, sha256: str, size: int) -> None:
    """Compare a file with the manifest.

    Raises:
        ManifestError: If it is missing or altered.
    """
    if not file.is_file():
        raise ManifestError(f"{file}: found nothing, expected a file of {size} bytes")
    _verify_size(str(file), file.stat().st_size, size)
    with file.open("rb") as content:
        _verify_sha256(str(file), hashlib.file_digest(content, "sha256").hexdigest(), sha256)


def verify_bytes(where: str, content: bytes, published: Mapping[str, Any]) -> None:
    """Compare what was read with its entry in the manifest.

    Args:
        where: The file, for the message.
        content: What was read.
        published: The entry, with `sha256` and `size`.

    Raises:
        ManifestError: If it is altered, or the entry is malformed.
    """
    try:
        sha256, size = str(published["sha256"]), int(published["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{where}: found manifest entry without {error}") from error
    _verify_size(where, len(content), size)
    _verify_sha256(where, hashlib.sha256(content).hexdigest(), sha256)


def _verify_size(where: str, found: int, published: int) -> None:
    if found != published:
        raise ManifestError(f"{where}: found {found} bytes, the manifest says {published}")


def _verify_sha256(where: str, found: str, published: str) -> None:
    if found != published:
        raise ManifestError(f"{where}: found sha256 {found}, the manifest says {published}")
