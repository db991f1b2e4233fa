"""A webhook's receiver on loopback: real HTTP, answers as it is told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0B1secret"


class Receiver:
    """A running receiver.

    Attributes:
        url: Its address, which is a secret.
        answers: Statuses of the next answers; 200 when there are none left, 0 is no answer.
        bodies: What was sent, decoded.
    """

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.bodies: list[Any] = []
        self.done = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"own": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/services/{SECRET}?key={SECRET}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.done.set()
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    own: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.own.bodies.append(json.loads(body))
        status = self.own.answers.pop(0) if self.own.answers else 200
        if not status:
            self.own.done.wait()
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
