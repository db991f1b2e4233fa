"""A package's signature: who published it, beside the manifest's what.

The signature is OpenSSF's model signing (an in-toto statement of every file's SHA-256 in a Sigstore
bundle), so `model_signing verify key` reads it, too. It lies in the package as
`signatures/<SHA-256 of manifest.json>.sig`: of two publishers none overwrites the other's.
Keys are elliptic-curve keys in PEM and come by environment variables, which a Secret fills.
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIGNING_KEY = "SHOPFLOW_SIGNING_KEY"
PUBLIC_KEY = "SHOPFLOW_PUBLIC_KEY"
SIGNATURES = "signatures"
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


class SignatureError(ValueError):
    """A package is not signed by a key that is trusted; the message is one line."""


def key_in(environment: Mapping[str, str], name: str) -> str:
    """Return the PEM text of a key, given as text or as a file's path; "" when not given.

    Raises:
        SignatureError: If it is neither, such as empty; the message does not show it.
    """
    given = environment.get(name)
    if given is None:
        return ""
    if _PEM.search(given):
        return given
    try:
        text = Path(given).read_text(encoding="utf-8")
    except (OSError, ValueError):  # ValueError: a key in binary
        # Not "from" it: it names the path, which may be a key without its PEM lines.
        raise SignatureError(f"{name}: found no PEM and no file, expected one of them") from None
    if not _PEM.search(text):
        raise SignatureError(f"{name}: found a file without PEM, expected a key")
    return text


def signature_file(manifest: bytes) -> str:
    """Return where the signature lies in a package, given the bytes of its manifest."""
    return f"{SIGNATURES}/{hashlib.sha256(manifest).hexdigest()}.sig"


def sign(package: Path, key: str) -> None:
    """Sign every file of a package, manifest.json among them.

    Args:
        package: Its folder.
        key: Private key, PEM.

    Raises:
        SignatureError: If the key cannot sign.
    """
    from model_signing import signing

    file = package / signature_file((package / "manifest.json").read_bytes())
    file.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:  # mode 0600
        pem.write(key)
        pem.flush()
        try:
            config = signing.Config().use_elliptic_key_signer(private_key=Path(pem.name))
            config.set_hashing_config(_hashing(package)).sign(package, file)
        except (ValueError, TypeError) as error:
            raise SignatureError(f"{SIGNING_KEY}: {_line(error)}") from error


def verify(package: Path, keys: str) -> None:
    """Check that one of the keys signed the package as it lies there: no file more, none less.

    Args:
        package: Its folder.
        keys: Public keys, PEM one after the other: the old and the new while keys are changed.

    Raises:
        SignatureError: If none did.
    """
    from model_signing import verifying

    manifest = package / "manifest.json"
    if not manifest.is_file():
        raise SignatureError(f"{package}: found no manifest.json, expected a signed package")
    file = package / signature_file(manifest.read_bytes())
    if not file.is_file():
        raise SignatureError(f"{package}: found no signature of its manifest, expected one")
    reasons = []
    for key in _PEM.findall(keys):
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
            pem.write(key + "\n")
            pem.flush()
            try:
                config = verifying.Config().use_elliptic_key_verifier(public_key=Path(pem.name))
                config.set_hashing_config(_hashing(package)).verify(package, file)
                return
            except (ValueError, TypeError) as error:
                reasons.append(_line(error))
    raise SignatureError(f"{package}: signed by no trusted key as it lies there: {reasons[-1]}")


def _hashing(package: Path) -> Any:
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[package / SIGNATURES], ignore_git_paths=False)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
