"""A published package without a model, for tests of what only checks and serves packages."""

import hashlib
import json
from pathlib import Path


def publish_bare(store: Path, *, version: int) -> Path:
    """Write a package whose one golden request is answered "item<version>"; return its folder."""
    folder = store / "shop" / str(version)
    model = folder / str(version) / "saved_model.pb"
    model.parent.mkdir(parents=True)
    model.write_bytes(f"model {version}".encode())
    answer = {"items": [f"item{version}"], "scores": [1.0]}
    request = {"body": {"instances": [{"user": "u"}]}, "answer": answer}
    (folder / "requests.json").write_text(json.dumps({"requests": [request]}))
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in (model, folder / "requests.json")
    }
    manifest = {"name": "shop", "version": version, "model_sha256": model_sha256(version)}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
    return folder


def model_sha256(version: int) -> str:
    """Return what its manifest calls the model's digest."""
    return hashlib.sha256(str(version).encode()).hexdigest()
