"""The package as the server finds it: as published, or refused in one line."""

import hashlib
import json
from pathlib import Path

import pytest

from serving.predictor.package import PackageError, open_package
from tests.serving.bare_package import model_sha256, publish_bare


def test_a_package_as_it_was_published_is_opened(tmp_path: Path):
    found = open_package(publish_bare(tmp_path, version=3))
    assert (found.name, found.version, found.model_sha256) == ("shop", 3, model_sha256(3))
    assert found.warmup == ({"instances": [{"user": "u"}]},)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"files": []}, "missing or malformed"),
        ({"files": None}, "missing or malformed"),
        ({"version": "three"}, "missing or malformed"),
        ({"version": 4}, "found no saved_model.pb"),
        ({"files": {}}, "which the manifest does not list"),
        ({"files": {"../../x": {"sha256": "", "size": 1}}}, "found nothing, expected a file"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, change, told):
    folder = publish_bare(tmp_path, version=3)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(PackageError, match=told) as refused:
        open_package(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("requests", [[1], None, [{"answer": {}}]])
def test_golden_requests_that_are_none_are_refused_in_one_line(tmp_path: Path, requests):
    folder = publish_bare(tmp_path, version=3)
    content = json.dumps({"requests": requests}).encode()
    (folder / "requests.json").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest["files"]["requests.json"] = listed
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="expected requests with a body each"):
        open_package(folder)
