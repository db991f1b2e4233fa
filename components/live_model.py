"""A published model, fetched to be compared with or to go on from; as a rule the one in service."""

import json
from pathlib import Path

from components.checksum import file_sha256
from components.errors import InputError
from components.keys import given_key
from components.object_store import download_tree, open_store
from serving.platform import PlatformError, connect
from serving.signature import PUBLIC_KEY, SignatureError, verify


def live_package_uri(service: str, *, platform: str, namespace: str) -> str | None:
    """Return where the stable revision's package lies; None when nothing is in service.

    Raises:
        InputError: If the platform cannot be asked: "no answer" must not look like "no model".
    """
    try:
        stable = connect(platform, namespace=namespace).status(service).stable
    except PlatformError as error:
        raise InputError(f"platform {platform}", str(error), f"the status of {service}") from error
    return None if stable is None else stable.storage_uri


def fetch_live_model(service: str, *, platform: str, namespace: str, target: Path) -> Path | None:
    """Copy the live model's package to a local folder and check it.

    Args:
        service: Name of the InferenceService.
        platform: As in `serving.platform.connect`.
        namespace: As in `serving.platform.connect`.
        target: Local folder to copy to.

    Returns:
        The SavedModel inside the copy; None when nothing is in service.

    Raises:
        InputError: If a model is in service and its package cannot be read or is not what its
            manifest says. A comparison that was asked for is never skipped.
    """
    uri = live_package_uri(service, platform=platform, namespace=namespace)
    if uri is None:
        return None
    return fetch_package(uri, target=target)


def fetch_package(uri: str, *, target: Path) -> Path:
    """Copy a published package, check it, and return the SavedModel in it.

    Given public keys by the environment, as the deploy step is, one of them must have signed it.

    Raises:
        InputError: If it cannot be read, is not what its manifest says, or is not signed.
    """
    keys = given_key(PUBLIC_KEY)
    try:
        download_tree(open_store(uri), "", target=target)
        if keys:
            verify(target, keys)
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
        for name, entry in manifest["files"].items():
            if (found := file_sha256(target / name)) != entry["sha256"]:
                raise InputError(f"{uri}/{name}", f"sha256 {found}", entry["sha256"])
        model = target / str(manifest["version"])
    except InputError:
        raise
    except SignatureError as error:
        raise InputError(uri, str(error), "a package that is signed") from error
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(uri, str(error), "a published package, whole") from error
    if not (model / "saved_model.pb").is_file():
        raise InputError(str(model), "no saved_model.pb", "a SavedModel")
    return model
