"""A real Prometheus on loopback."""

import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.ports import free_port

SCRAPE_S = 0.25


class PrometheusServer:
    """One Prometheus process with a data folder of its own.

    Attributes:
        url: Its base URL.
    """

    def __init__(self, folder: Path, scrapes: list[dict[str, Any]], **files: Any) -> None:
        """Start it and wait until it answers; skip the test where Prometheus is not installed.

        Args:
            folder: Folder for its files.
            scrapes: Its scrape configurations.
            files: "rules" a rule file, "web" its web configuration, "ca" who signed its TLS;
                "port" the port, where it must be a certain one; "remote_read" as it calls it.
        """
        if shutil.which("prometheus") is None:
            pytest.skip("no prometheus on PATH; Debian: apt-get install prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        interval = f"{int(SCRAPE_S * 1000)}ms"
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval,
                       "evaluation_interval": interval},
            "scrape_configs": scrapes,
            "rule_files": [str(files["rules"])] if "rules" in files else [],
            "remote_read": files.get("remote_read", []),
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = files.get("port") or free_port()
        options = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{port}",
            "log.level": "warn",
        }
        if "web" in files:
            options["web.config.file"] = files["web"]
        self._log = (folder / "prometheus.log").open("ab")
        self._process = subprocess.Popen(
            ["prometheus", *(f"--{name}={value}" for name, value in options.items())],
            stdout=self._log,
            stderr=self._log,
        )
        self.url = f"{'https' if 'web' in files else 'http'}://127.0.0.1:{port}"
        verify = ssl.create_default_context(cafile=str(files["ca"])) if "ca" in files else True
        self.http = httpx.Client(base_url=self.url, verify=verify, trust_env=False, timeout=30)
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.http.get("/-/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus does not start, see {self._log.name}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and wait for its end."""
        self._process.terminate()
        self._process.wait(30)
        self.http.close()
        self._log.close()

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the result of an instant query; raise with Prometheus' words if it refuses it."""
        answer = self.http.post("/api/v1/query", data={"query": promql})
        content = answer.json()
        assert content["status"] == "success", f"{promql}: {content}"
        return content["data"]["result"]

    def wait_until_up(self, targets: int) -> None:
        """Wait until that many targets have been scraped."""
        deadline = time.monotonic() + 60
        while len(self.query("up == 1")) < targets:
            assert time.monotonic() < deadline, self.query("up")
            time.sleep(0.1)


def static(job: str, *targets: tuple[int, dict[str, str]], **more: Any) -> dict[str, Any]:
    """Return a scrape configuration of fixed targets: port and labels."""
    groups = [{"targets": [f"127.0.0.1:{port}"], "labels": labels} for port, labels in targets]
    return {"job_name": job, "static_configs": groups, **more}
