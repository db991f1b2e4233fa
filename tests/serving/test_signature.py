"""Signed packages: what a verifier accepts, and that a server loads no other."""

import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from serving.signature import (
    PUBLIC_KEY,
    SignatureError,
    key_in,
    sign,
    signature_file,
    verify,
)
from tests.serving.bare_package import publish_bare
from tests.serving.key_pair import key_pair
from tests.serving.running_server import ROOT, running_server
from tests.serving.tiny_package import publish_tiny

PRIVATE, PUBLIC = key_pair()
_, STRANGER = key_pair()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A signed package."""
    folder = publish_bare(tmp_path, version=1)
    sign(folder, PRIVATE)
    return folder


def test_a_package_is_accepted_by_each_key_that_signed_it_and_by_openssf_s_own_command(
    package: Path, tmp_path: Path
):
    verify(package, PUBLIC)
    verify(package, STRANGER + PUBLIC)  # while keys are changed
    key = tmp_path / "public.pem"
    key.write_text(PUBLIC)
    signature = package / signature_file((package / "manifest.json").read_bytes())
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(package)]
    command += ["--signature", str(signature), "--public_key", str(key)]
    command += ["--ignore-paths", str(package / "signatures")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def alter_model(package: Path) -> None:
    (package / "1" / "saved_model.pb").write_bytes(b"model x")


def alter_manifest(package: Path) -> None:
    manifest = package / "manifest.json"
    before = signature_file(manifest.read_bytes())
    manifest.write_text(manifest.read_text().replace('"shop"', '"shoq"'))
    (package / before).rename(package / signature_file(manifest.read_bytes()))


def add(package: Path) -> None:
    (package / "1" / "more.bin").write_bytes(b"more")


def remove(package: Path) -> None:
    (package / "requests.json").unlink()


def unsign(package: Path) -> None:
    shutil.rmtree(package / "signatures")


@pytest.mark.parametrize("change", [alter_model, alter_manifest, add, remove, unsign])
def test_a_package_that_is_not_as_it_was_signed_is_refused_in_one_line(package: Path, change):
    change(package)
    with pytest.raises(SignatureError) as refused:
        verify(package, PUBLIC)
    assert str(package) in str(refused.value) and "\n" not in str(refused.value)


def test_a_stranger_s_signature_is_refused(package: Path):
    with pytest.raises(SignatureError, match="signed by no trusted key"):
        verify(package, STRANGER)


def test_a_key_comes_as_text_or_as_a_file_and_is_never_shown(tmp_path: Path):
    file = tmp_path / "key.pem"
    file.write_text(PUBLIC)
    assert key_in({PUBLIC_KEY: PUBLIC}, PUBLIC_KEY) == key_in({PUBLIC_KEY: str(file)}, PUBLIC_KEY)
    assert key_in({}, PUBLIC_KEY) == ""
    bare = "".join(PUBLIC.splitlines()[1:-1])
    with pytest.raises(SignatureError) as refused:
        key_in({PUBLIC_KEY: bare}, PUBLIC_KEY)
    assert bare not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(SignatureError, match="found no PEM"):
        key_in({PUBLIC_KEY: ""}, PUBLIC_KEY)  # an empty Secret is no leave to read anything
    file.write_bytes(b"\x30\x81\xff")  # DER
    with pytest.raises(SignatureError, match="found no PEM"):
        key_in({PUBLIC_KEY: str(file)}, PUBLIC_KEY)
    with pytest.raises(SignatureError, match="SHOPFLOW_SIGNING_KEY"):
        sign(publish_bare(tmp_path, version=1), PUBLIC)  # a public key cannot sign


def test_the_server_answers_with_a_signed_package_and_does_not_start_with_another(tmp_path: Path):
    folder = publish_tiny(tmp_path)
    options = ("--model_name", "shop", "--model_dir", str(folder))
    command = [sys.executable, "-m", "serving.predictor", *options]
    environment = {PUBLIC_KEY: PUBLIC}
    unsigned = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert unsigned.returncode == 78
    assert unsigned.stderr.strip().splitlines()[-1].endswith("expected one")
    sign(folder, PRIVATE)
    with running_server("serving.predictor", *options, **environment) as client:
        body = {"instances": [{"user": "u", "history": [], "k": 1}], "signature_name": "recommend"}
        assert client.post("/v1/models/shop:predict", json=body).status_code == 200
