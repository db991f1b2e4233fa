"""The model package as the server finds it on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.manifest import ManifestError, read_object, verify_file
from serving.signature import SIGNATURES, SignatureError, verify


class PackageError(ValueError):
    """The package is not what was published; the message is one line."""


@dataclass(frozen=True)
class Package:
    """A package whose every byte is the published one.

    Attributes:
        name: Name of the model.
        version: Its version, ≥ 1.
        model_sha256: Checksum the evaluation gate gave its blessing to.
        saved_model_dir: The SavedModel.
        warmup: Bodies of requests the model is warmed up with, v1 protocol.
    """

    name: str
    version: int
    model_sha256: str
    saved_model_dir: Path
    warmup: tuple[dict[str, Any], ...]


def open_package(folder: Path, *, public_keys: str = "") -> Package:
    """Verify a package against its manifest and return what the server needs of it.

    Args:
        folder: Contains manifest.json, requests.json and the SavedModel in `<version>/`.
        public_keys: PEM; given, one of them must have signed the package. It is checked first, so
            nothing of what a stranger wrote is read.

    Raises:
        PackageError: If a file is missing, altered or not in the manifest, or the package is not
            signed.
    """
    if public_keys:
        try:
            verify(folder, public_keys)
        except SignatureError as error:
            raise PackageError(str(error)) from error
    manifest = _read_object(folder / "manifest.json")
    try:
        files = manifest["files"]
        name, version = str(manifest["name"]), int(manifest["version"])
        model_sha256 = str(manifest["model_sha256"])
        for relative, published in files.items():
            verify_file(folder / relative, sha256=published["sha256"], size=published["size"])
    except ManifestError as error:
        raise PackageError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackageError(f"{folder}/manifest.json: {error!r} is missing or malformed") from error
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # Of two publishers of one model, both leave their signature.
    signatures = {name for name in present if name.startswith(f"{SIGNATURES}/")}
    if unknown := sorted(present - set(files) - {"manifest.json"} - signatures):
        raise PackageError(f"{folder}: found {unknown[0]}, which the manifest does not list")
    saved_model_dir = folder / str(version)
    if not (saved_model_dir / "saved_model.pb").is_file():
        raise PackageError(f"{saved_model_dir}: found no saved_model.pb, expected a SavedModel")
    return Package(name, version, model_sha256, saved_model_dir, _warmup(folder))


def _warmup(folder: Path) -> tuple[dict[str, Any], ...]:
    file = folder / "requests.json"
    try:
        return tuple(request["body"] for request in _read_object(file).get("requests", []))
    except (KeyError, TypeError) as error:
        raise PackageError(f"{file}: {error!r}, expected requests with a body each") from error


def _read_object(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise PackageError(f"{file}: found no file, expected one in every package")
    try:
        return read_object(file.read_bytes(), str(file))
    except ManifestError as error:
        raise PackageError(str(error)) from error
