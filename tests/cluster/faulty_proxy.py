"""A proxy before the real API server that fails in the ways networks and servers do."""

import http.client
import socket
import ssl
import threading
from collections import deque
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from kubernetes import client, config

from serving.platform.cluster import Cluster, Patience
from tests.cluster.api_server import ApiServer

# Far below what a client would be given in earnest, so that a test of six attempts is quick.
QUICK = Patience(attempts=6, first_wait_s=0.01, longest_wait_s=0.05, connect_s=2.0, read_s=2.0)


class FaultyProxy(AbstractContextManager["FaultyProxy"]):
    """Passes requests on, except those a fault waits for.

    Attributes:
        faults: The faults of the next requests, first come first served: a status code; "refuse"
            (closed before the server is asked), "lose" (asked, then closed without an answer),
            "hang" (no answer in time); None passes a request on.
        methods: Methods that meet faults.
        seen: Every request: method and path.
    """

    def __init__(self, server: ApiServer, *methods: str) -> None:
        self.faults: deque[int | str | None] = deque()
        self.methods, self.seen = methods, list[tuple[str, str]]()
        settings = client.Configuration()
        config.load_kube_config(str(server.kubeconfig), client_configuration=settings)
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        context.load_cert_chain(settings.cert_file, settings.key_file)
        self._http = ThreadingHTTPServer(
            ("127.0.0.1", 0), _handler(self, urlsplit(server.url).netloc, context)
        )
        self._http.daemon_threads = True
        self.released = threading.Event()

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()

    def connect(self, patience: Patience = QUICK) -> Cluster:
        """Return a client that comes through the proxy."""
        settings = client.Configuration()
        settings.host = f"http://127.0.0.1:{self._http.server_address[1]}"
        settings.retries = False
        return Cluster(client.ApiClient(settings), patience=patience)

    def next_fault(self, method: str) -> int | str | None:
        """Return what happens to a request with this method."""
        return self.faults.popleft() if self.faults and method in self.methods else None


def _handler(
    proxy: FaultyProxy, target: str, context: ssl.SSLContext
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.seen.append((self.command, self.path))
            fault = proxy.next_fault(self.command)
            if fault == "hang":
                proxy.released.wait(5)
                self.close_connection = True
            elif fault == "refuse":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            elif isinstance(fault, int):
                headers = {"Retry-After": "0"} if fault == 429 else {}
                self.answer(fault, b'{"message": "made up"}', headers)
            else:
                status, answer = self.ask(body)
                if fault == "lose":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                else:
                    self.answer(status, answer, {})

        def ask(self, body: bytes) -> tuple[int, bytes]:
            connection = http.client.HTTPSConnection(target, context=context, timeout=30)
            kept = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            connection.request(self.command, self.path, body or None, kept)
            answer = connection.getresponse()
            content = answer.status, answer.read()
            connection.close()
            return content

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    return Handler
