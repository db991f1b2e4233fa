"""Where files live outside the machine's own work folders: a local folder or a bucket.

One small interface, two implementations, chosen by the URI. Names are POSIX paths relative to the
store's root; a folder exists because a file is in it, as in a bucket.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from components.errors import InputError

if TYPE_CHECKING:
    from google.cloud import storage

_UPLOADING = ".uploading"  # folder of local files that are not complete; never listed


class ObjectStore(Protocol):
    """Files under one root."""

    @property
    def root(self) -> str:
        """The root as a URI or path, without a slash at the end."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all files below the folder `prefix`, in order; none is not an error.

        Args:
            prefix: Folder relative to the root; "" is the root.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether the file is there."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's contents.

        Raises:
            FileNotFoundError: If the file is not there; names it.
        """
        ...

    def download(self, name: str, target: Path) -> None:
        """Copy a file to the local path `target`, whose folder is made when missing.

        Raises:
            FileNotFoundError: If the file is not there; names it.
        """
        ...

    def upload(self, source: Path, name: str) -> None:
        """Copy a local file into the store; readers see all of the old file or of the new."""
        ...

    def create(self, name: str, data: bytes) -> None:
        """Write a new file in one atomic step: of several writers exactly one succeeds.

        Raises:
            FileExistsError: If the file is already there; it is left as it was.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is not an error."""
        ...


class LocalStore:
    """Files in a local folder."""

    def __init__(self, folder: Path) -> None:
        """Point at a folder, which is made by the first write.

        Args:
            folder: The root.
        """
        self._folder = folder

    @property
    def root(self) -> str:
        """The folder's path."""
        return str(self._folder)

    def names(self, prefix: str = "") -> list[str]:
        """See `ObjectStore.names`."""
        folder = self._folder / prefix
        paths = (path for path in folder.rglob("*") if path.is_file())
        names = (path.relative_to(self._folder) for path in paths)
        return sorted(name.as_posix() for name in names if name.parts[0] != _UPLOADING)

    def exists(self, name: str) -> bool:
        """See `ObjectStore.exists`."""
        return self._path(name).is_file()

    def read(self, name: str) -> bytes:
        """See `ObjectStore.read`."""
        return self._path(name).read_bytes()

    def download(self, name: str, target: Path) -> None:
        """See `ObjectStore.download`."""
        source = self._path(name)
        if not source.is_file():
            raise FileNotFoundError(f"{source}: no such file")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def upload(self, source: Path, name: str) -> None:
        """See `ObjectStore.upload`."""
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part(self._folder / _UPLOADING)
        try:
            shutil.copyfile(source, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def create(self, name: str, data: bytes) -> None:
        """See `ObjectStore.create`."""
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part(self._folder / _UPLOADING)
        try:
            part.write_bytes(data)
            os.link(part, target)  # unlike a rename, fails when the target is there
        except FileExistsError as error:
            raise FileExistsError(f"{target}: already exists") from error
        finally:
            part.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)


class GcsStore:
    """Files in a Google Cloud Storage bucket, or in the emulator at STORAGE_EMULATOR_HOST.

    Whatever else Google answers, such as that there is no such bucket or that it is not for these
    credentials, is an InputError.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        """Connect with the credentials of the environment.

        Args:
            bucket: The bucket's name.
            prefix: Folder inside the bucket that is the root; "" is the bucket itself.
        """
        from google.cloud import storage  # half a second that local stores do not pay

        with _asking(f"gs://{bucket}"):
            self._bucket: storage.Bucket = storage.Client().bucket(bucket)
        self._prefix = prefix.strip("/")

    @property
    def root(self) -> str:
        """The root as gs://bucket/prefix."""
        return f"gs://{self._bucket.name}/{self._prefix}".rstrip("/")

    def names(self, prefix: str = "") -> list[str]:
        """See `ObjectStore.names`."""
        folder = self._key(prefix) if prefix else self._prefix
        start = f"{folder.rstrip('/')}/" if folder else ""
        cut = len(self._prefix) + 1 if self._prefix else 0
        with _asking(self.root):
            keys = [blob.name for blob in self._bucket.list_blobs(prefix=start or None)]
        # Consoles mark an empty folder by an object whose name ends with a slash: no file.
        return sorted(key[cut:] for key in keys if not key.endswith("/"))

    def exists(self, name: str) -> bool:
        """See `ObjectStore.exists`."""
        with _asking(self.root):
            return bool(self._blob(name).exists())

    def read(self, name: str) -> bytes:
        """See `ObjectStore.read`."""
        from google.api_core.exceptions import NotFound

        with _asking(self.root):
            try:
                return bytes(self._blob(name).download_as_bytes())
            except NotFound as error:
                raise FileNotFoundError(f"{self.root}/{name}: no such file") from error

    def download(self, name: str, target: Path) -> None:
        """See `ObjectStore.download`."""
        from google.api_core.exceptions import NotFound

        target.parent.mkdir(parents=True, exist_ok=True)
        with _asking(self.root):
            try:
                self._blob(name).download_to_filename(str(target))
            except NotFound as error:
                raise FileNotFoundError(f"{self.root}/{name}: no such file") from error

    def upload(self, source: Path, name: str) -> None:
        """See `ObjectStore.upload`; an object becomes visible when its upload is complete."""
        with _asking(self.root):
            self._blob(name).upload_from_filename(str(source))

    def create(self, name: str, data: bytes) -> None:
        """See `ObjectStore.create`."""
        from google.api_core.exceptions import PreconditionFailed

        taken = FileExistsError(f"{self.root}/{name}: already exists")
        # The precondition is what makes this atomic; the look before spares the upload, and keeps
        # the promise on emulators that ignore preconditions.
        if self.exists(name):
            raise taken
        with _asking(self.root):
            try:
                # No retry: a second one, after a lost answer, would meet its own file as taken.
                self._blob(name).upload_from_string(data, if_generation_match=0, retry=None)
            except PreconditionFailed as error:
                raise taken from error

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        from google.api_core.exceptions import NotFound

        with _asking(self.root), suppress(NotFound):
            self._blob(name).delete()

    def _blob(self, name: str) -> "storage.Blob":
        return self._bucket.blob(self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{_checked(name)}" if self._prefix else _checked(name)


@contextmanager
def _asking(where: str) -> Iterator[None]:
    """Make an error of Google's one line.

    Raises:
        InputError: In its place.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        expected = "a bucket that is there, and credentials that may use it"
        raise InputError(where, str(error), expected) from error


def open_store(uri: str) -> ObjectStore:
    """Return the store a URI points at: a local path, file:///path or gs://bucket/prefix.

    Raises:
        InputError: If the URI has another scheme, or names no bucket.
    """
    parts = urlsplit(uri) if "://" in uri else None
    if parts is None:
        return LocalStore(Path(uri).expanduser())
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "gs" and parts.netloc:
        # Not parts.path: in a bucket "#" and "?" are letters of a name like any other.
        return GcsStore(parts.netloc, uri.removeprefix(f"gs://{parts.netloc}"))
    raise InputError("store URI", repr(uri), "a local path, file:///path or gs://bucket/prefix")


def open_file(uri: str) -> tuple[ObjectStore, str]:
    """Return the store that holds the file a URI names, and the file's name in it.

    Raises:
        InputError: As `open_store`.
    """
    folder, slash, name = uri.rstrip("/").rpartition("/")
    return open_store(folder or ("/" if slash else ".")), name


def download_tree(store: ObjectStore, prefix: str, *, target: Path) -> list[Path]:
    """Copy all files below a folder of a store to the local folder `target`.

    Args:
        store: Where to copy from.
        prefix: Folder in the store; "" is its root.
        target: Local folder; made when missing.

    Returns:
        The paths written, in the order of their names.

    Raises:
        FileNotFoundError: If there is no file below `prefix`.
    """
    names = store.names(prefix)
    if not names:
        raise FileNotFoundError(f"{store.root}/{prefix}: no files".replace("/:", ":"))
    paths = [target / PurePosixPath(name).relative_to(prefix or ".") for name in names]
    for name, path in zip(names, paths, strict=True):
        store.download(name, path)
    return paths


def upload_tree(store: ObjectStore, folder: Path, *, prefix: str) -> list[str]:
    """Copy all files below the local folder into the folder `prefix` of a store.

    Returns:
        The names written, in order.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [
        (PurePosixPath(prefix) / path.relative_to(folder).as_posix()).as_posix() for path in paths
    ]
    for path, name in zip(paths, names, strict=True):
        store.upload(path, name)
    return names


def _checked(name: str) -> str:
    """Refuse a name that would leave the root."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r}: not a name inside the store's root")
    return path.as_posix()


def _part(folder: Path) -> Path:
    """Return a new empty file in `folder`, after removing those of processes that were killed.

    A folder of its own, on the same file system as the target: what a killed process leaves is
    then never taken for a part of what it was writing. A process id says nothing of a process in
    another container that shares the folder; its files are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    here = f"{socket.gethostname()}@"
    for left in folder.glob(f"{here}*"):
        if not Path("/proc", left.name.removeprefix(here).partition("-")[0]).exists():
            left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{here}{os.getpid()}-", dir=folder)
    os.close(descriptor)
    # mkstemp makes files for the owner only; other users' servers must read what is published.
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)
    return Path(name)
