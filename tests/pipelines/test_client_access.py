"""Who may use the server, and one clear line for each way of not being let in."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import InputError
from pipelines.client import runs
from pipelines.client.connection import Access, connect
from tests.pipelines.kfp_server import KfpServer

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "recommender.yaml"


@pytest.fixture
def shared():
    """A server with many users; ours has the namespace "shop" and a token."""
    running = KfpServer(token="s3cret-1", namespaces=("shop",))
    yield running
    running.stop()


def test_a_token_is_read_again_for_every_request(shared, tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret-1\n")
    kubeflow = connect(Access(shared.host, namespace="shop", token_file=file))
    assert runs.listed(kubeflow, limit=5) == []
    shared.token = "s3cret-2"
    with pytest.raises(InputError, match="HTTP 401: who asks is not known there"):
        runs.listed(kubeflow, limit=5)
    file.write_text("s3cret-2\n")
    assert runs.listed(kubeflow, limit=5) == []


def test_in_a_pod_the_service_accounts_token_is_taken(shared, tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("s3cret-1")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    assert runs.listed(connect(Access(shared.host, namespace="shop")), limit=5) == []


def test_another_namespace_and_none_are_told(shared, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "s3cret-1")
    kubeflow = connect(Access(shared.host, namespace="other"))
    with pytest.raises(InputError, match="--namespace other: found HTTP 403, User is not auth"):
        runs.listed(kubeflow, limit=5)
    with pytest.raises(InputError, match="--namespace: found none, expected yours"):
        connect(Access(shared.host))


def test_a_namespace_is_refused_where_there_are_none(server):
    with pytest.raises(InputError, match="--namespace: found 'shop', expected none"):
        connect(Access(server.host, namespace="shop"))


def test_a_session_that_ends_is_told_and_not_read_as_an_empty_answer(server, tmp_path):
    file = tmp_path / "cookie"
    file.write_text("authservice_session=abc")
    kubeflow = connect(Access(server.host, cookie_file=file))
    server.log_in_page = True
    with pytest.raises(InputError, match="found a page instead of an answer: who asks is not"):
        runs.listed(kubeflow, limit=5)
    with pytest.raises(InputError, match="found HTTP 302: who asks is not known there"):
        connect(Access(server.host, cookie_file=file))


def test_files_of_secrets_are_checked(server, tmp_path):
    empty = tmp_path / "token"
    empty.touch()
    for access, line in (
        (Access(server.host, token_file=empty), "--token-file: found 0 lines"),
        (Access(server.host, token_file=tmp_path / "none"), "expected a readable file"),
        (Access(server.host, token_file=empty, cookie_file=empty), "expected one of the two"),
        (Access(server.host, ca_file=empty), "no answer"),
        (Access("127.0.0.1:80"), "expected a URL"),
        (Access("http://me:s3cret@127.0.0.1"), "--host: found a user or password in it"),
    ):
        with pytest.raises(InputError, match=line):
            connect(access)


@pytest.mark.parametrize("secret", ["s3cret\nmore", "s3cret\x01", "s3crét"])
def test_a_secret_that_no_header_carries_is_told_and_not_shown(server, secret, tmp_path):
    (tmp_path / "secret").write_text(secret.replace("\n", "\v"), encoding="utf-8")
    options = ["runs", "--host", server.host]
    for where, done in (
        ("KF_PIPELINES_TOKEN", shell(*options, KF_PIPELINES_TOKEN=secret)),
        ("--cookie-file", shell(*options, "--cookie-file", tmp_path / "secret")),
    ):
        assert done.stderr == (
            f"error: {where}: found characters that no header carries, "
            "expected one line of printable ASCII\n"
        )


def test_a_host_that_is_something_else_is_told(server):
    with pytest.raises(InputError, match="expected the API of Kubeflow Pipelines"):
        connect(Access(f"{server.host}/pipeline"))


def shell(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


def test_a_server_that_is_not_there_is_one_line_and_exit_code_2():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        done = shell("runs", "--host", host)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {host}: found no answer (")
    assert done.stderr.count("\n") == 1


def test_a_token_is_never_shown(shared):
    options = ["--host", shared.host, "--namespace", "shop"]
    done = shell("upload", GOLDEN, *options, KF_PIPELINES_TOKEN="s3cret-0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "HTTP 401" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    done = shell("upload", GOLDEN, *options, KF_PIPELINES_TOKEN="s3cret-1")
    assert (done.returncode, done.stderr) == (0, "")
