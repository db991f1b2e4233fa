import json
from pathlib import Path

import pytest

from components.checksum import file_sha256, tree_files
from components.errors import InputError
from components.live_model import fetch_live_model, fetch_package
from serving.signature import PUBLIC_KEY, sign
from tests.serving.key_pair import key_pair


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A published version 3: <store>/rec/3 with the SavedModel in the folder 3."""
    folder = tmp_path / "store" / "rec" / "3"
    (folder / "3" / "variables").mkdir(parents=True)
    (folder / "3" / "saved_model.pb").write_bytes(b"graph")
    (folder / "3" / "variables" / "data").write_bytes(b"weights")
    files = {
        path.as_posix(): {"sha256": file_sha256(folder / path), "size": 5}
        for path in tree_files(folder)
    }
    (folder / "manifest.json").write_text(json.dumps({"version": 3, "files": files}))
    return folder


def test_nothing_in_service_is_no_live_model(tmp_path):
    found = fetch_live_model(
        "rec", platform=f"local:{tmp_path / 'state'}", namespace="default", target=tmp_path / "x"
    )
    assert found is None


def test_a_platform_that_cannot_be_asked_is_an_error_and_not_no_model(tmp_path):
    with pytest.raises(InputError, match="platform nowhere"):
        fetch_live_model("rec", platform="nowhere", namespace="default", target=tmp_path)


def test_fetches_the_saved_model_of_a_package(package, tmp_path):
    model = fetch_package(str(package), target=tmp_path / "live")
    assert (model / "saved_model.pb").read_bytes() == b"graph"
    assert (model / "variables" / "data").read_bytes() == b"weights"


def test_a_changed_file_is_refused_by_name(package, tmp_path):
    (package / "3" / "variables" / "data").write_bytes(b"wrong..")
    with pytest.raises(InputError, match="3/variables/data"):
        fetch_package(str(package), target=tmp_path / "live")


@pytest.mark.parametrize("lost", ["manifest.json", "3/saved_model.pb"])
def test_a_package_that_lacks_a_file_is_refused(package, tmp_path, lost):
    (package / lost).unlink()
    with pytest.raises(InputError, match=Path(lost).name):
        fetch_package(str(package), target=tmp_path / "live")


def test_a_package_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="whole"):
        fetch_package(str(tmp_path / "gone"), target=tmp_path / "live")


def test_given_a_public_key_only_a_package_that_it_signed_is_read(package, tmp_path, monkeypatch):
    private, public = key_pair()
    monkeypatch.setenv(PUBLIC_KEY, public)
    with pytest.raises(InputError, match=r"rec/3: found .*no signature.*, expected a package that"):
        fetch_package(str(package), target=tmp_path / "unsigned")
    sign(package, private)
    assert (fetch_package(str(package), target=tmp_path / "signed") / "saved_model.pb").is_file()
    monkeypatch.setenv(PUBLIC_KEY, key_pair()[1])
    with pytest.raises(InputError, match=r"rec/3: found .*signed by no trusted key"):
        fetch_package(str(package), target=tmp_path / "strange")


@pytest.mark.parametrize("content", ["[]", '{"version": 3, "files": []}', '{"files": {"x": 1}}'])
def test_a_manifest_that_is_none_is_refused_in_one_line(package, tmp_path, content):
    (package / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"rec/3: found .*, expected a published package, whole"):
        fetch_package(str(package), target=tmp_path / "live")
