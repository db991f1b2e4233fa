"""Bringing a package to the machine: folders in place, buckets by download."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage

from serving.platform import PlatformError
from serving.platform.storage import materialise
from tests.storage_server import running_storage


@pytest.fixture(scope="module")
def bucket() -> Iterator[storage.Bucket]:
    """The bucket "models" of a storage server on loopback."""
    with running_storage("models"):
        yield storage.Client().bucket("models")


def test_folder_is_used_where_it_lies(tmp_path: Path):
    assert materialise(str(tmp_path), tmp_path / "copy") == tmp_path
    assert materialise(f"file://{tmp_path}", tmp_path / "copy") == tmp_path


def test_bucket_is_downloaded_once_without_directory_markers(
    bucket: storage.Bucket, tmp_path: Path
):
    bucket.blob("shop/1/manifest.json").upload_from_string(b"{}")
    bucket.blob("shop/1/1/").upload_from_string(b"")
    bucket.blob("shop/1/1/saved_model.pb").upload_from_string(b"\x00model")
    bucket.blob("shop/11/manifest.json").upload_from_string(b"another version")
    copy = materialise("gs://models/shop/1", tmp_path / "copy")
    files = {p.relative_to(copy).as_posix(): p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    assert files == {"manifest.json": b"{}", "1/saved_model.pb": b"\x00model"}
    bucket.blob("shop/1/manifest.json").delete()
    assert (materialise("gs://models/shop/1", copy) / "manifest.json").is_file()


@pytest.mark.parametrize("uri", ["gs://models/none", "s3://models/shop/1", "/no/such/folder"])
def test_nothing_to_serve_is_said_in_one_line(bucket: storage.Bucket, tmp_path: Path, uri: str):
    with pytest.raises(PlatformError, match="storageUri: found") as error:
        materialise(uri, tmp_path / "copy")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "copy").exists()


def test_bucket_without_credentials_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(PlatformError, match="gs://models/shop/1 cannot be read: File .*none.json"):
        materialise("gs://models/shop/1", tmp_path / "copy")
