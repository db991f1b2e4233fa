"""The connection to a Kubeflow Pipelines server: who asks, and what went wrong in one line."""

import dataclasses
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from components.errors import InputError

TOKEN, COOKIE = "KF_PIPELINES_TOKEN", "KF_PIPELINES_COOKIE"
# Where a pod finds its token for Kubeflow Pipelines, and its namespace; the former as kfp has it.
POD_TOKEN, POD_TOKEN_VARIABLE = (
    Path("/var/run/secrets/kubeflow/pipelines/token"),
    "KF_PIPELINES_SA_TOKEN_PATH",
)
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
TIMEOUT_S = (10, 60)  # connect, read
_PAGE = 100


class ServerError(InputError):
    """The server refused, or its answer cannot be used.

    Attributes:
        status: Its HTTP status; 0 when there was no answer.
    """

    def __init__(self, where: str, found: str, expected: str, *, status: int = 0) -> None:
        """As `InputError`, with the HTTP status."""
        super().__init__(where, found, expected)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Access:
    """Where a server is and how to be let in; secrets come from files or the environment only.

    Attributes:
        host: URL of the API, such as `https://kubeflow.example/pipeline`.
        namespace: The user's namespace; "" for a server with one user.
        token_file: File with a bearer token, read again for every request; None: see `credentials`.
        cookie_file: File with the session's cookie, `name=value`; likewise.
        ca_file: Certificates that sign the server's; None: the system's.
    """

    host: str
    namespace: str = ""
    token_file: Path | None = None
    cookie_file: Path | None = None
    ca_file: Path | None = None


def connect(access: Access) -> "Kubeflow":
    """Return a connection after the server has answered.

    Raises:
        InputError: If there is no server, it lets nobody in, or it wants a namespace.
    """
    if not access.host.startswith(("http://", "https://")):
        raise InputError("--host", repr(access.host), "a URL, https://… or http://…")
    if "@" in access.host.split("/")[2]:
        raise InputError("--host", "a user or password in it", "a URL without: see --token-file")
    token_file, token, cookie = _credentials(access)
    if token_file:
        token = _read(token_file, "--token-file" if access.token_file else str(token_file))
    multi_user = _probe(access, token, cookie)
    namespace = access.namespace
    if multi_user and not namespace:
        if not POD_NAMESPACE.is_file():
            raise InputError("--namespace", "none", "yours: this server has many users")
        namespace = POD_NAMESPACE.read_text().strip()
    if namespace and not multi_user:
        raise InputError("--namespace", repr(namespace), "none: this server has no namespaces")
    import kfp
    from kfp.client import ServiceAccountTokenVolumeCredentials

    # It repeats on stderr what is raised anyway.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that it is not for KFP before 2.0
        client = kfp.Client(
            host=access.host,
            # Neither is left out: kfp would take what an earlier session has left in the home.
            namespace="-",
            cookies=cookie,
            existing_token=None if token_file else token or None,
            credentials=ServiceAccountTokenVolumeCredentials(token_file) if token_file else None,
            ssl_ca_cert=str(access.ca_file) if access.ca_file else None,
        )
    return Kubeflow(client, access.host, namespace)


class Kubeflow:
    """A connected server.

    Attributes:
        client: kfp's client; its generated services are `.pipelines`, `.runs` and so on.
        host: The server's URL.
        namespace: The user's namespace; "" for a server with one user.
    """

    def __init__(self, client: Any, host: str, namespace: str) -> None:
        """Wrap a client; see `connect`."""
        self.client, self.host, self.namespace = client, host, namespace

    def call(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Call one of the generated services, within a time limit.

        Returns:
            The answer, of the service's model class.

        Raises:
            ServerError: If the server cannot be reached, refuses, or answers something else.
        """
        import kfp_server_api
        import urllib3

        # Its variant tells the answer's type: a login page would else be read as an empty object.
        with_headers = getattr(function.__self__, f"{function.__name__}_with_http_info")  # type: ignore[attr-defined]
        try:
            answer, _, headers = with_headers(*arguments, **named, _request_timeout=TIMEOUT_S)
        except kfp_server_api.ApiException as error:
            raise self._refused(error.status or 0, error.body or error.reason) from error
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(self.host, error) from error
        if "json" not in headers.get("content-type", ""):
            raise _logged_out(self.host, "a page instead of an answer")
        return answer

    def get(self, path: str) -> httpx.Response:
        """Return the answer to a GET of a path the generated services do not know.

        Raises:
            ServerError: If the server cannot be reached.
        """
        api = self.client.runs.run_service_get_run.__self__.api_client
        headers = {"Cookie": api.cookie} if api.cookie else {}
        api.update_params_for_auth(headers, [], ["Bearer"])
        ca_file = api.configuration.ssl_ca_cert
        return _get(self.host, path, headers, Path(ca_file) if ca_file else None)

    def listed(self, function: Callable[..., Any], field: str, **named: Any) -> Iterator[Any]:
        """Yield what a list service returns, page by page.

        Args:
            function: The service.
            field: Where its answer has the list.
            named: Its arguments.
        """
        token = ""
        while True:
            page = self.call(function, page_token=token, page_size=_PAGE, **named)
            yield from getattr(page, field) or ()
            if not (token := page.next_page_token or ""):
                return

    def _refused(self, status: int, body: str) -> ServerError:
        said = _said(body) or body or "no reason"
        # The first line says it; what follows is a trace of the server's own functions.
        said = said.split("\n")[0][:500]
        if status == 401:
            return _logged_out(self.host, "HTTP 401", status=401)
        if status == 403:
            where = f"--namespace {self.namespace}" if self.namespace else self.host
            return ServerError(where, f"HTTP 403, {said}", "rights of this user there", status=403)
        return ServerError(
            self.host, f"HTTP {status}, {said}", "the request accepted", status=status
        )


def _said(body: str) -> str:
    """Return the reason in a refusal: the innermost of an API's, or an upload's only one."""
    try:
        answer = json.loads(body)
        details = [detail.get("message") for detail in answer.get("details") or ()]
        reasons = [*details, answer.get("message"), answer.get("error_message")]
        return next((str(reason) for reason in reasons if reason), "")
    except (ValueError, AttributeError, TypeError):
        return ""


def named(value: str, key: str = "display_name") -> str:
    """Return a filter for a list service: the entries with exactly this name."""
    predicate = {"operation": "EQUALS", "key": key, "stringValue": value}
    return json.dumps({"predicates": [predicate]})


def _credentials(access: Access) -> tuple[Path | None, str, str]:
    """Return a token's file, a token and a cookie; at most one of them is there.

    What is given by an option wins, then the environment, then what a pod finds in itself.
    """
    if access.token_file and access.cookie_file:
        raise InputError("--cookie-file", "a token's file, too", "one of the two")
    if access.cookie_file:
        return None, "", _read(access.cookie_file, "--cookie-file")
    if access.token_file:
        return access.token_file, "", ""
    token, cookie = (_sendable(os.environ.get(name, "").strip(), name) for name in (TOKEN, COOKIE))
    if token and cookie:
        raise InputError(COOKIE, f"{TOKEN}, too", "one of the two")
    in_pod = Path(os.environ.get(POD_TOKEN_VARIABLE) or POD_TOKEN)
    if token or cookie or not in_pod.is_file():
        return None, token, cookie
    return in_pod, "", ""


def _read(file: Path, option: str) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(option, str(error), "a readable file") from error
    if not text or "\n" in text:
        raise InputError(option, f"{len(text.splitlines())} lines in {file}", "one line")
    return _sendable(text, option)


def _sendable(secret: str, where: str) -> str:
    """Return a secret that a header can carry; the HTTP libraries show one that it cannot.

    Raises:
        InputError: If it cannot; the message does not show it.
    """
    if not (secret.isascii() and secret.isprintable()):
        raise InputError(where, "characters that no header carries", "one line of printable ASCII")
    return secret


def _probe(access: Access, token: str, cookie: str) -> bool:
    """Ask for the server's health; return whether it has many users."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if cookie:
        headers["Cookie"] = cookie
    answer = _get(access.host, "/apis/v2beta1/healthz", headers, access.ca_file)
    if answer.status_code in (401, 403) or answer.is_redirect:
        raise _logged_out(access.host, f"HTTP {answer.status_code}", status=answer.status_code)
    try:
        return bool(answer.raise_for_status().json().get("multi_user", False))
    except (httpx.HTTPStatusError, ValueError, AttributeError) as error:
        found = f"HTTP {answer.status_code} with {answer.headers.get('content-type', 'no type')}"
        expected = "the API of Kubeflow Pipelines (often https://…/pipeline)"
        raise ServerError(access.host, found, expected, status=answer.status_code) from error


def _get(host: str, path: str, headers: dict[str, str], ca_file: Path | None) -> httpx.Response:
    import ssl

    timeout = httpx.Timeout(TIMEOUT_S[1], connect=TIMEOUT_S[0])
    try:
        verify = ssl.create_default_context(cafile=ca_file)
        with httpx.Client(verify=verify, timeout=timeout) as client:
            return client.get(host.rstrip("/") + path, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _unreachable(host, error) from error


def _unreachable(host: str, error: Exception) -> ServerError:
    return ServerError(host, f"no answer ({error})", "a Kubeflow Pipelines server there")


def _logged_out(host: str, found: str, *, status: int = 0) -> ServerError:
    expected = (
        f"a token or session that has not expired (--token-file, --cookie-file, {TOKEN}, {COOKIE})"
    )
    return ServerError(host, f"{found}: who asks is not known there", expected, status=status)
