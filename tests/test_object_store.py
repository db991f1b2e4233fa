import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.errors import InputError
from components.object_store import (
    GcsStore,
    LocalStore,
    ObjectStore,
    download_tree,
    open_file,
    open_store,
    upload_tree,
)
from tests.storage_server import running_storage


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """A storage server on loopback, with the bucket "shop"."""
    with running_storage("shop") as url:
        yield url


@pytest.fixture(params=["local", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return open_store(str(tmp_path / "store"))
    request.getfixturevalue("emulator")
    return open_store(f"gs://shop/{tmp_path.name}")


def test_what_was_uploaded_is_read_and_downloaded_byte_for_byte(
    store: ObjectStore, tmp_path: Path
) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(bytes(range(256)))
    store.upload(source, "a/b/model.bin")
    store.download("a/b/model.bin", tmp_path / "new" / "copy.bin")
    assert store.read("a/b/model.bin") == bytes(range(256))
    assert (tmp_path / "new" / "copy.bin").read_bytes() == bytes(range(256))


def test_uploading_again_replaces_the_contents(store: ObjectStore, tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        store.upload(tmp_path / "file", "name")
    assert store.read("name") == b"second"
    assert store.names() == ["name"]


def test_names_are_those_below_the_folder_and_no_others(store: ObjectStore) -> None:
    for name in ("x/2", "x/1", "x/deep/3", "xy/4", "5"):
        store.create(name, b"")
    assert store.names("x") == ["x/1", "x/2", "x/deep/3"]  # xy starts with x and is another folder
    assert store.names() == ["5", "x/1", "x/2", "x/deep/3", "xy/4"]
    assert store.names("nothing") == []


def test_create_refuses_a_name_that_is_taken_and_leaves_it(store: ObjectStore) -> None:
    store.create("claim", b"first")
    with pytest.raises(FileExistsError, match="claim: already exists"):
        store.create("claim", b"second")
    assert store.read("claim") == b"first"


def test_of_many_local_writers_exactly_one_creates_the_file(tmp_path: Path) -> None:
    def claim(writer: int) -> bool:
        try:
            LocalStore(tmp_path).create("claim", b"%d" % writer * 1000)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = [writer for writer, mine in enumerate(pool.map(claim, range(16))) if mine]
    assert len(won) == 1
    assert (tmp_path / "claim").read_bytes() == b"%d" % won[0] * 1000
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["claim"]


def test_a_missing_file_is_named(store: ObjectStore, tmp_path: Path) -> None:
    assert not store.exists("gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        store.read("gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        store.download("gone", tmp_path / "gone")
    store.delete("gone")


def test_delete_removes_the_file(store: ObjectStore) -> None:
    store.create("file", b"")
    store.delete("file")
    assert not store.exists("file")


def test_a_tree_comes_back_as_it_went(store: ObjectStore, tmp_path: Path) -> None:
    for name in ("1/saved_model.pb", "1/variables/index", "manifest.json"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    names = upload_tree(store, tmp_path / "in", prefix="shop/7")
    assert names == ["shop/7/1/saved_model.pb", "shop/7/1/variables/index", "shop/7/manifest.json"]
    paths = download_tree(store, "shop/7", target=tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "1/saved_model.pb",
        "1/variables/index",
        "manifest.json",
    ]
    assert all(path.read_text() == str(path.relative_to(tmp_path / "out")) for path in paths)


def test_downloading_an_empty_folder_is_an_error(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing: no files"):
        download_tree(store, "nothing", target=tmp_path / "out")


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a/../../b", ""])
def test_a_name_cannot_leave_the_root(store: ObjectStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a name inside"):
        store.create(name, b"")


def test_a_uri_chooses_the_store(emulator: str, tmp_path: Path) -> None:
    assert open_store(f"file://{tmp_path}").root == str(tmp_path)
    assert open_store("gs://shop/models/").root == "gs://shop/models"
    assert open_store("gs://shop").root == "gs://shop"
    store, name = open_file("gs://shop/in/log.csv")
    assert (store.root, name) == ("gs://shop/in", "log.csv")
    assert open_file("log.csv")[0].root == "."


@pytest.mark.parametrize("uri", ["s3://bucket/x", "gs://", "file://host/x"])
def test_an_unknown_uri_is_refused_with_what_is_understood(uri: str) -> None:
    with pytest.raises(InputError, match="expected a local path, file:///path or gs://bucket"):
        open_store(uri)


def test_losing_the_race_for_a_name_in_a_bucket_is_file_exists() -> None:
    """The emulator ignores preconditions, so a server that honours this one stands in for GCS."""
    asked: list[str] = []

    class Taken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the look before writing: nothing there yet
            self._answer(404)

        def do_POST(self) -> None:  # the other writer was faster
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(412)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = os.environ.get("STORAGE_EMULATOR_HOST")
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(FileExistsError, match="gs://shop/claim: already exists"):
            GcsStore("shop").create("claim", b"mine")
    finally:
        server.shutdown()
        server.server_close()
        os.environ.pop("STORAGE_EMULATOR_HOST")
        if before is not None:
            os.environ["STORAGE_EMULATOR_HOST"] = before
    assert len(asked) == 1 and "ifGenerationMatch=0" in asked[0]


@pytest.mark.usefixtures("emulator")
def test_a_bucket_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    store = open_store("gs://shpo/models")
    for ask in (
        store.names,
        lambda: store.upload(tmp_path / "a", "a"),
        lambda: store.create("a", b""),
    ):
        with pytest.raises(InputError, match=r"^gs://shpo/models: found 404 .*, expected a bucket"):
            ask()


def test_credentials_that_are_not_there_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)  # it asks for none
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(InputError, match=r"^gs://models: found File .*key.json.* was not found"):
        open_store("gs://models/shop")


def test_what_a_killed_process_left_is_removed_and_what_another_container_writes_is_not(
    tmp_path: Path,
) -> None:
    left, theirs = f"{socket.gethostname()}@999999999-a", "train-1@999999999-a"  # no such process
    (tmp_path / ".uploading").mkdir()
    for name in (left, theirs):
        (tmp_path / ".uploading" / name).touch()
    open_store(str(tmp_path)).create("name", b"")
    assert [path.name for path in (tmp_path / ".uploading").iterdir()] == [theirs]
