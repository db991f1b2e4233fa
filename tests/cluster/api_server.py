"""etcd and kube-apiserver on loopback, with certificates of their own and RBAC on."""

import base64
import shutil
import ssl
from pathlib import Path

import yaml

from tests.cluster.certificates import Authority, KeyPair, token_signing_key
from tests.cluster.daemon import Daemon, is_up
from tests.ports import free_port

_START_TIMEOUT_S = 120.0
SERVICE_CIDR = "10.96.0.0/16"


class ApiServer:
    """A Kubernetes API server and the etcd under it; the data dies with the folder.

    Attributes:
        folder: Certificates, data and logs.
        authority: Signs the cluster's certificates.
        url: Where the API server listens.
        token_key: Signs service accounts' tokens.
        kubeconfig: An administrator's.
        daemons: The running programs, first started first.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        """Start both and wait until the API server is ready.

        Args:
            binaries: Folder with `etcd` and `kube-apiserver`.
            folder: An empty folder.
        """
        self.folder, self.authority = folder, Authority(folder)
        self.daemons: list[Daemon] = []
        self._data = folder / "etcd"
        self.url = f"https://127.0.0.1:{free_port()}"
        self.token_key = token_signing_key(folder)
        self.kubeconfig = self.write_kubeconfig("shopflow-admin", organisation="system:masters")
        try:
            etcd = self._start_etcd(binaries)
            self._start_api_server(binaries, etcd)
        except BaseException:
            self.stop()
            raise

    def write_kubeconfig(self, user: str, *, organisation: str | None = None) -> Path:
        """Return a kubeconfig of this user (and group), known by a client certificate."""
        pair = self.authority.issue(user, organisation=organisation)
        path = self.folder / f"{pair.certificate.stem}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self._kubeconfig(user, pair)))
        return path

    def stop(self) -> None:
        """End both, the API server first; the logs stay, the data goes (etcd reserves 128 MB)."""
        for daemon in reversed(self.daemons):
            daemon.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def _start_etcd(self, binaries: Path) -> str:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        etcd = Daemon(
            [
                binaries / "etcd",
                f"--data-dir={self._data}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # the data is worth nothing after the tests
                "--log-level=warn",
            ],
            log=self.folder / "etcd.log",
        )
        self.daemons.append(etcd)
        etcd.wait_until(lambda: is_up(f"{client}/readyz"), timeout_s=_START_TIMEOUT_S)
        return client

    def _start_api_server(self, binaries: Path, etcd: str) -> None:
        port = self.url.rsplit(":", 1)[1]
        serving = self.authority.issue(
            "kube-apiserver", names=("127.0.0.1", "localhost", "kubernetes.default.svc")
        )
        server = Daemon(
            [
                binaries / "kube-apiserver",
                f"--etcd-servers={etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={self.folder}",
                f"--tls-cert-file={serving.certificate}",
                f"--tls-private-key-file={serving.key}",
                f"--client-ca-file={self.authority.pair.certificate}",
                "--authorization-mode=RBAC",
                "--anonymous-auth=false",
                f"--service-cluster-ip-range={SERVICE_CIDR}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self.token_key}",
                f"--service-account-signing-key-file={self.token_key}",
                "--endpoint-reconciler-type=none",  # a loopback address makes no valid endpoint
            ],
            log=self.folder / "kube-apiserver.log",
        )
        self.daemons.append(server)
        context = self._client_context()
        server.wait_until(lambda: is_up(f"{self.url}/readyz", context), timeout_s=_START_TIMEOUT_S)

    def _client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        admin = self.folder / "shopflow-admin"
        context.load_cert_chain(admin.with_suffix(".crt"), admin.with_suffix(".key"))
        return context

    def _kubeconfig(self, user: str, pair: KeyPair) -> dict[str, object]:
        def embed(path: Path) -> str:
            return base64.b64encode(path.read_bytes()).decode()

        cluster = {
            "server": self.url,
            "certificate-authority-data": embed(self.authority.pair.certificate),
        }
        credentials = {
            "client-certificate-data": embed(pair.certificate),
            "client-key-data": embed(pair.key),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "shopflow-test", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": user, "context": {"cluster": "shopflow-test", "user": user}}],
            "current-context": user,
        }
