"""Whether a published package may be deployed: complete, unaltered, blessed."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.checksum import file_sha256
from components.errors import InputError
from components.object_store import ObjectStore, open_store
from serving.platform.interface import PlatformError
from serving.platform.storage import materialise
from serving.signature import SignatureError, verify

# What packaging adds beside the model that was evaluated, so it is not part of the model's digest.
_WARMUP = "assets.extra/tf_serving_warmup_requests"


@dataclass(frozen=True)
class GoldenRequest:
    """A request that travels with the model.

    Attributes:
        body: Body of a v1 request of one row.
        answer: `items` and `scores` the model answered when it was packaged.
    """

    body: Mapping[str, Any]
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class VerifiedPackage:
    """A package whose files are the published ones and whose model passed the gate.

    Attributes:
        uri: Where it lies.
        name: Name of the model.
        version: Its version, ≥ 1.
        model_sha256: Digest of the model the gate gave its blessing to.
        run: The pipeline run that made it; empty when its manifest does not say.
        golden_requests: Requests the model must answer as it did when it was packaged.
    """

    uri: str
    name: str
    version: int
    model_sha256: str
    run: str
    golden_requests: tuple[GoldenRequest, ...]


def verify_package(package_uri: str, *, public_keys: str = "") -> VerifiedPackage:
    """Check every file of a package, its blessing, and that the blessing is for this model.

    Args:
        package_uri: Folder or gs:// URI of one version.
        public_keys: PEM; given, one of them must have signed the package.

    Raises:
        InputError: If anything is missing, altered, not blessed or not signed.
    """
    store = open_store(package_uri)
    if public_keys:
        _check_signature(package_uri, public_keys)
    manifest = _read_json(store, "manifest.json")
    try:
        files: Mapping[str, Mapping[str, Any]] = dict(manifest["files"])
        found = {name: _sha256(store, name) for name in files}
        for name, published in files.items():
            if found[name] != published["sha256"]:
                raise InputError(
                    f"{store.root}/{name}", f"sha256 {found[name]}", str(published["sha256"])
                )
        _check_blessing(store.root, manifest)
        package = VerifiedPackage(
            package_uri,
            str(manifest["name"]),
            int(manifest["version"]),
            str(manifest["model_sha256"]),
            str(manifest.get("lineage", {}).get("run", "")),
            _golden_requests(store),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{store.root}/manifest.json", repr(error), "a package manifest"
        ) from error
    _check_model_digest(package, files)
    return package


def _check_signature(package_uri: str, public_keys: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            verify(materialise(package_uri, Path(folder) / "package"), public_keys)
        except (SignatureError, PlatformError) as error:
            raise InputError(package_uri, str(error), "a package that is signed") from error


def _check_blessing(root: str, manifest: Mapping[str, Any]) -> None:
    blessing = manifest["blessing"]
    if blessing["blessed"] is not True:
        raise InputError(root, f"a model that was refused: {blessing.get('reason')}", "a blessing")
    if blessing["model_sha256"] != manifest["model_sha256"]:
        raise InputError(
            f"{root}/manifest.json",
            f"a blessing for model {blessing['model_sha256']}",
            f"one for model {manifest['model_sha256']}",
        )


def _check_model_digest(package: VerifiedPackage, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse when the files served are not the model that was evaluated.

    The digest is that of `components.checksum.tree_digest`, from the checksums just verified.
    """
    folder = PurePosixPath(str(package.version))
    inner = {
        PurePosixPath(name).relative_to(folder).as_posix(): entry["sha256"]
        for name, entry in files.items()
        if PurePosixPath(name).is_relative_to(folder)
    }
    inner.pop(_WARMUP, None)
    digest = hashlib.sha256()
    for name in sorted(inner):
        digest.update(f"{inner[name]}  {name}\n".encode())
    if digest.hexdigest() != package.model_sha256:
        raise InputError(
            f"{package.uri}/{folder}", f"model {digest.hexdigest()}", package.model_sha256
        )


def _golden_requests(store: ObjectStore) -> tuple[GoldenRequest, ...]:
    where = f"{store.root}/requests.json"
    found = _read_json(store, "requests.json").get("requests") or ()
    try:
        requests = tuple(GoldenRequest(each["body"], dict(each["answer"])) for each in found)
        complete = all(
            len(request.answer["items"]) == len(request.answer["scores"]) for request in requests
        )
    except (KeyError, TypeError) as error:
        raise InputError(where, repr(error), "requests, each with body and answer") from error
    if not requests or not complete:
        raise InputError(where, "no requests with answers", "golden requests")
    return requests


def _sha256(store: ObjectStore, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "file"
        try:
            store.download(name, copy)
        except FileNotFoundError as error:
            raise InputError(f"{store.root}/{name}", "no file", "a file of the package") from error
        return file_sha256(copy)


def _read_json(store: ObjectStore, name: str) -> dict[str, Any]:
    where = f"{store.root}/{name}"
    try:
        content = json.loads(store.read(name))
    except FileNotFoundError as error:
        raise InputError(where, "no file", "a published package") from error
    except ValueError as error:
        raise InputError(where, f"no JSON ({error})", "a JSON object") from error
    if not isinstance(content, dict):
        raise InputError(where, type(content).__name__, "a JSON object")
    return content
