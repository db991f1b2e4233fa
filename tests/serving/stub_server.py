"""A server as light as a server can be, for tests of what is in front of it.

It speaks enough of the v1 protocol; every answer names the process and its environment's LABEL.
With a package, each answer is that of its first golden request. A request with "until" makes the
file "<until>.asked" and is answered when the file "<until>" is there.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PACKAGE = Path(os.environ.get("MODEL_DIR") or "/nowhere", "requests.json")
GOLDEN = (
    json.loads(PACKAGE.read_text())["requests"][0]["answer"]
    if PACKAGE.is_file()
    else {"items": ["a"], "scores": [1.0]}
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({"ready": True})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(float(os.environ.get("DELAY_S", "0")))
        if until := body.get("until"):
            Path(f"{until}.asked").touch()
            while not Path(until).exists():
                time.sleep(0.02)
        if body.get("exit"):
            os._exit(3)
        answer = {**GOLDEN, "label": os.environ.get("LABEL", ""), "pid": os.getpid()}
        if "--null-scores" in sys.argv:
            answer["scores"] = [None]
        if "--other-items" in sys.argv:
            answer["items"] = answer["items"][::-1]
        self._answer({"predictions": [answer] * len(body.get("instances", []))})

    def _answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    if message := os.environ.get("REFUSE"):
        sys.exit(message)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
