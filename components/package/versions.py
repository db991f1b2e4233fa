"""Published versions in a model store, as readers see them: complete or not there."""

import json
import tempfile
from pathlib import Path
from typing import Any

from components.checksum import file_sha256
from components.errors import InputError
from components.object_store import ObjectStore
from serving.signature import SIGNATURES

MANIFEST = "manifest.json"


def list_versions(store: ObjectStore, name: str) -> list[int]:
    """Return the versions of a model that are published, in order.

    A version exists when its manifest does; the manifest is the last file to be written.
    """
    depth = len(f"{name}/1/{MANIFEST}".split("/"))
    parts = [file.split("/") for file in store.names(name)]
    return sorted(
        int(part[-2])
        for part in parts
        if len(part) == depth and part[-1] == MANIFEST and part[-2].isdigit()
    )


def read_manifest(store: ObjectStore, name: str, version: int) -> dict[str, Any]:
    """Return the manifest of a published version.

    Raises:
        InputError: If that version is not published, or its manifest is not a JSON object.
    """
    where = f"{name}/{version}/{MANIFEST}"
    try:
        manifest = json.loads(store.read(where))
    except FileNotFoundError as error:
        raise InputError(f"{store.root}/{where}", "no file", "a published version") from error
    except ValueError as error:
        raise InputError(f"{store.root}/{where}", f"no JSON ({error})", "a manifest") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{store.root}/{where}", type(manifest).__name__, "a JSON object")
    return manifest


def verify_version(store: ObjectStore, name: str, version: int) -> None:
    """Compare every file of a published version with its checksum.

    Raises:
        InputError: If a file is missing, altered, or not in the manifest.
    """
    files: dict[str, dict[str, Any]] = read_manifest(store, name, version)["files"]
    root = f"{name}/{version}"
    names = {file.removeprefix(f"{root}/") for file in store.names(root)} - {MANIFEST}
    present = {name for name in names if not name.startswith(f"{SIGNATURES}/")}
    for file in sorted(present ^ set(files)):
        found, expected = ("no file", "a file") if file in files else ("a file", "none")
        raise InputError(f"{store.root}/{root}/{file}", found, f"{expected}, by the manifest")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "file"
        for file, entry in files.items():
            store.download(f"{root}/{file}", copy)
            if (found := file_sha256(copy)) != entry["sha256"]:
                where = f"{store.root}/{root}/{file}"
                raise InputError(where, f"sha256 {found}", str(entry["sha256"]))
