"""Asking Prometheus: what is no answer to rely on, tokens and certificates."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving.platform import PlatformError
from serving.platform.counter_growth import Series
from serving.platform.prometheus_api import PrometheusApi, PrometheusSettings
from tests.ports import free_port
from tests.serving.prometheus_server import PrometheusServer


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes nothing."""
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"), [])
    yield server
    server.stop()


def ask(url: str, selector: str = "up", **settings: Any) -> list[Series]:
    return PrometheusApi(PrometheusSettings(url, **settings)).samples(selector, window_s=60)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server on loopback while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Quiet(BaseHTTPRequestHandler):
    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SignIn(Quiet):
    def do_POST(self) -> None:
        self.answer(200, b"<html>please sign in</html>")


class Moved(Quiet):
    def do_POST(self) -> None:
        self.answer(302, Location="https://elsewhere.invalid/")


class OtherData(Quiet):
    def do_POST(self) -> None:
        self.answer(200, b'{"status": "success", "data": {"result": [{"metric": {}}]}}')


def test_no_data_is_an_empty_answer(prometheus: PrometheusServer):
    assert ask(prometheus.url) == []
    assert ask(prometheus.url + "/") == []


def test_prometheus_that_is_not_there_or_says_nothing_is_an_error():
    with pytest.raises(PlatformError, match=r"no answer: .*refused"):
        ask(f"http://127.0.0.1:{free_port()}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(PlatformError, match="no answer: timed out"):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (Quiet, "HTTP 501"),
        (SignIn, "HTTP 200: .*please sign in"),
        (Moved, "HTTP 302"),
        (OtherData, "found KeyError.*expected counters"),
    ],
)
def test_what_is_no_prometheus_is_an_error(handler: type[BaseHTTPRequestHandler], message: str):
    with serving(handler) as url, pytest.raises(PlatformError, match=message) as refused:
        ask(url)
    assert "\n" not in str(refused.value)


def test_query_prometheus_refuses_is_told_in_its_words(prometheus: PrometheusServer):
    with pytest.raises(PlatformError, match="HTTP 400: bad_data .*parse error"):
        ask(prometheus.url, "no such metric")


def test_answer_with_a_part_missing_is_refused(tmp_path: Path):
    elsewhere = {"url": f"http://127.0.0.1:{free_port()}/read", "read_recent": True}
    server = PrometheusServer(tmp_path, [], remote_read=[elsewhere])
    try:
        with pytest.raises(PlatformError, match="incomplete: .*remote_read"):
            ask(server.url)
    finally:
        server.stop()


def test_token_is_read_by_reference_at_every_look(
    prometheus: PrometheusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Guard(BaseHTTPRequestHandler):
        """What stands before Prometheus on a cluster: no token, no answer."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = {"Content-Type": self.headers["Content-Type"]}
            allowed = self.headers.get("Authorization") == "Bearer right"
            url = prometheus.url + self.path
            answer = httpx.post(url, content=body, headers=kind, trust_env=False)
            self.send_response(answer.status_code if allowed else 401)
            self.end_headers()
            self.wfile.write(answer.content if allowed else b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    file = tmp_path / "token"
    with serving(Guard) as url:
        api = PrometheusApi(PrometheusSettings(url, token_file=file))
        with pytest.raises(PlatformError, match="no token in .*No such file"):
            api.samples("up", window_s=60)
        file.write_text("wrong-secret\n")
        with pytest.raises(PlatformError, match="HTTP 401") as refused:
            api.samples("up", window_s=60)
        assert "wrong-secret" not in str(refused.value)
        file.write_text("right\n")
        assert api.samples("up", window_s=60) == []

        with pytest.raises(PlatformError, match="no bearer token in SHOP_TOKEN"):
            ask(url, token_env="SHOP_TOKEN")
        monkeypatch.setenv("SHOP_TOKEN", "two\nlines")
        with pytest.raises(PlatformError, match="no bearer token in SHOP_TOKEN"):
            ask(url, token_env="SHOP_TOKEN")
        monkeypatch.setenv("SHOP_TOKEN", "right")
        assert ask(url, token_env="SHOP_TOKEN") == []
        with pytest.raises(PlatformError, match="HTTP 401"):
            ask(url)


def test_tls_is_verified(tmp_path: Path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out",
         "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    web = tmp_path / "web.yml"
    web.write_text(
        yaml.safe_dump({"tls_server_config": {"cert_file": "cert.pem", "key_file": "key.pem"}})
    )
    server = PrometheusServer(tmp_path, [], web=web, ca=tmp_path / "cert.pem")
    try:
        with pytest.raises(PlatformError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(server.url)
        assert ask(server.url, ca_file=tmp_path / "cert.pem") == []
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "prometheus:9090"}, "expected an http"),
        ({"url": "ftp://prometheus"}, "expected an http"),
        ({"url": "http://prometheus/?query=up"}, "expected an http"),
        ({"url": "http://[::1"}, "expected an http"),
        ({"url": "http://prometheus:http"}, "expected an http"),
        ({"url": "https://me:secret@prometheus"}, "found a password in the URL"),
        ({"url": "http://prometheus", "token_env": "T"}, "expected https"),
        ({"url": "https://prometheus", "token_env": "T", "token_file": Path("t")}, "expected one"),
        ({"url": "https://prometheus", "timeout_s": 0.0}, "timeout_s"),
        ({"url": "https://prometheus", "ca_file": Path("nowhere.pem")}, "no certificates"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict, message: str):
    with pytest.raises(PlatformError, match=message) as refused:
        PrometheusApi(PrometheusSettings(**settings))
    assert "secret" not in str(refused.value)
