"""Publishing a blessed model: versioned, checksummed, all or nothing."""

import dataclasses
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.checksum import file_sha256, tree_digest, tree_files
from components.errors import InputError
from components.model_identity import model_identity
from components.object_store import ObjectStore, open_store, upload_tree
from components.package.model_card import model_card
from components.package.requests import (
    WARMUP_FILE,
    answer_requests,
    write_requests,
    write_warmup,
)
from components.package.versions import MANIFEST, list_versions, read_manifest
from components.requests import sample_requests
from serving.signature import SIGNING_KEY, SignatureError, sign

GOLDEN_REQUESTS = 32
_CLAIMS = ".claims"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Published:
    """A published version.

    Attributes:
        uri: `<store>/<name>/<version>`.
        version: Its number, ≥ 1.
        new: Whether this call published it; False when the same model was there already.
    """

    uri: str
    version: int
    new: bool


def publish(
    *,
    model_dir: Path,
    blessing_path: Path,
    schema_path: Path,
    evaluation_dir: Path,
    events_dir: Path,
    store_uri: str,
    name: str,
    lineage: Mapping[str, str],
    signing_key: str = "",
) -> Published:
    """Publish a model that the gate has blessed; the same model is published once.

    Two models are the same when `model_identity` says so: one trained again from the same data,
    seed and code is. The blessing is for these very files.

    The number of a new version is claimed first, by a file that only one publisher can create; the
    files follow, and the manifest comes last: until then no reader takes the version for one. A
    publisher that was killed finds its claim again by the model's checksum and completes it; of two
    that publish the same model at once both write the same files, and one the manifest.

    Args:
        model_dir: The SavedModel.
        blessing_path: The gate's blessing, JSON.
        schema_path: The data's schema.
        evaluation_dir: Contains metrics.json.
        events_dir: Events, of whose test users the golden requests are made.
        store_uri: Folder or gs:// prefix of all published models.
        name: Name of the model.
        lineage: What it was made by and from; goes into the manifest.
        signing_key: Private key, PEM; given, the package is signed with it.

    Returns:
        Where the version lies.

    Raises:
        InputError: If something is not there or cannot be read, if the model is not blessed, or if
            the blessing is for another model. Nothing is written then.
    """
    try:
        digest, identity = tree_digest(model_dir), model_identity(model_dir)
        schema_sha256 = file_sha256(schema_path)
    except OSError as error:
        raise InputError("package", str(error), "a SavedModel and a schema") from error
    blessing = _read_blessing(blessing_path, digest)
    metrics = _read_object(evaluation_dir / "metrics.json", "the evaluation's figures")
    bodies = _golden_requests(events_dir, digest)
    store = open_store(store_uri)
    for version in reversed(list_versions(store, name)):
        if read_manifest(store, name, version).get("model_identity") == identity:
            _LOG.info("package: version %d of %s holds this model already", version, name)
            return Published(f"{store.root}/{name}/{version}", version, new=False)
    version = _claim(store, name, digest)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest = _build(
            folder,
            model_dir,
            bodies,
            manifest={
                "name": name,
                "version": version,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "model_sha256": digest,
                "model_identity": identity,
                "schema_sha256": schema_sha256,
                "blessing": blessing,
                "lineage": dict(lineage),
                "metrics": metrics,
            },
        )
        content = (json.dumps(manifest, indent=1) + "\n").encode()
        if signing_key:
            _sign(folder, content, signing_key)
        upload_tree(store, folder, prefix=f"{name}/{version}")
    try:
        store.create(f"{name}/{version}/{MANIFEST}", content)
    except FileExistsError:
        # Another publisher of the very same model was faster.
        return Published(f"{store.root}/{name}/{version}", version, new=False)
    _LOG.info("package: %s version %d, %d files", name, version, len(manifest["files"]))
    return Published(f"{store.root}/{name}/{version}", version, new=True)


def is_blessed(path: Path) -> bool:
    """Whether a file of the gate's is a blessing; whose it is, `publish` checks.

    Raises:
        InputError: If the file says neither yes nor no.
    """
    blessed = _read_object(path, "the gate's decision").get("blessed")
    if not isinstance(blessed, bool):
        raise InputError(str(path), f"blessed: {blessed!r}", "true or false")
    return blessed


def _read_object(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(path), str(error), f"{what}, JSON") from error
    if not isinstance(content, dict):
        raise InputError(str(path), repr(content)[:80], f"{what}, a JSON object")
    return content


def _golden_requests(events_dir: Path, digest: str) -> list[dict[str, Any]]:
    """Return a model's golden requests: whoever publishes it draws the same."""
    seed = int(hashlib.sha256(digest.encode()).hexdigest()[:8], 16)
    return sample_requests(events_dir, count=GOLDEN_REQUESTS, seed=seed)


def _sign(folder: Path, manifest: bytes, key: str) -> None:
    """Add the signature of the folder and its manifest, which is not to be uploaded with it."""
    (folder / MANIFEST).write_bytes(manifest)
    try:
        sign(folder, key)
    except SignatureError as error:
        raise InputError(SIGNING_KEY, str(error), "a private key that can sign") from error
    (folder / MANIFEST).unlink()


def _read_blessing(path: Path, digest: str) -> dict[str, Any]:
    blessing = _read_object(path, "the gate's decision")
    if blessing.get("blessed") is not True:
        raise InputError(str(path), f"a refusal: {blessing.get('reason')}", "a blessing")
    if blessing.get("model_sha256") != digest:
        raise InputError(str(path), f"a blessing for {blessing.get('model_sha256')}", digest)
    return blessing


def _claim(store: ObjectStore, name: str, digest: str) -> int:
    """Return a version number that belongs to this model, an earlier claim's when there is one."""
    version = 1
    while True:
        claim = f"{name}/{_CLAIMS}/{version}"
        try:
            store.create(claim, digest.encode())
            return version
        except FileExistsError:
            if store.read(claim).decode() == digest:
                return version
        version += 1


def _build(
    folder: Path,
    model_dir: Path,
    bodies: Sequence[Mapping[str, Any]],
    *,
    manifest: dict[str, Any],
) -> dict[str, Any]:
    """Lay out everything but the manifest in a folder; return the manifest with its files.

    The folder must be empty.
    """
    inner = folder / str(manifest["version"])
    shutil.copytree(model_dir, inner)
    write_requests(folder / "requests.json", bodies, answer_requests(model_dir, bodies))
    write_warmup(inner / WARMUP_FILE, name=manifest["name"], bodies=bodies)
    (folder / "MODEL_CARD.md").write_text(model_card(manifest), encoding="utf-8")
    files = {
        path.as_posix(): {
            "sha256": file_sha256(folder / path),
            "size": (folder / path).stat().st_size,
        }
        for path in tree_files(folder)
    }
    return manifest | {"files": files}
