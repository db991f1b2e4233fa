"""SHA-256 of files and of directory trees."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_files(root: Path) -> list[Path]:
    """Return every regular file below `root`, relative to it, in POSIX order of the name."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(files, key=Path.as_posix)


def tree_digest(root: Path) -> str:
    """Return one SHA-256 for a directory: over each file's relative name and contents.

    Two directories have the same digest exactly when they hold the same files under the same
    names; times and permissions do not count.

    Raises:
        FileNotFoundError: If `root` is not a directory or holds no file, because the digest of
            nothing would make two missing models look equal.
    """
    files = tree_files(root) if root.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{root}: no files to make a checksum of")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file_sha256(root / file)}  {file.as_posix()}\n".encode())
    return digest.hexdigest()
