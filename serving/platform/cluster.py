"""Talking to a Kubernetes API server: server-side apply, deliberate retries, one-line errors."""

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

# kubernetes ships no types.
from kubernetes import client, config

from serving.platform.interface import PlatformError

FIELD_MANAGER = "shopflow"
JSON = dict[str, Any]
# Too many requests, and the answers of a server or load balancer that is in trouble.
_AGAIN = frozenset({429, 500, 502, 503, 504})
_APPLY = "application/apply-patch+yaml"


class ApiError(PlatformError):
    """The API server refused or could not be reached.

    Attributes:
        status: HTTP status code; 0 when there was no answer.
    """

    def __init__(self, message: str, *, status: int) -> None:
        """Keep the status beside the one-line message."""
        super().__init__(message)
        self.status = status


class Outdated(ApiError):
    """The object was changed since it was read (its resourceVersion is no longer the latest)."""


class OwnedByAnother(ApiError):
    """Another field manager has set a field to another value; the message names both."""


@dataclass(frozen=True)
class Patience:
    """How long and how often the API server is asked.

    Attributes:
        attempts: Requests made in all before giving up, ≥ 1.
        first_wait_s: Wait before the second attempt; doubled each time, with jitter.
        longest_wait_s: Upper limit of a wait, also of one the server asks for (Retry-After).
        connect_s: Time to connect.
        read_s: Time without an answer.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0
    connect_s: float = 5.0
    read_s: float = 30.0


def path(api: str, plural: str, namespace: str, name: str = "") -> str:
    """Return the URL path of a namespaced resource; `api` is "v1" or "group/version"."""
    root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
    return f"{root}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def connect_cluster(context: str = "", *, patience: Patience | None = None) -> "Cluster":
    """Connect with the pod's service account, or else with KUBECONFIG.

    Args:
        context: Context of the kubeconfig; with one, the service account is not tried.
        patience: Retries and timeouts.

    Raises:
        PlatformError: If there are neither credentials.
    """
    settings = client.Configuration()
    try:
        if context:
            raise config.ConfigException("a context is a kubeconfig's")
        config.load_incluster_config(settings)
    except config.ConfigException:
        try:
            # The client reads KUBECONFIG when it is imported, and then no more.
            config.load_kube_config(
                config_file=os.environ.get("KUBECONFIG") or None,
                context=context or None,
                client_configuration=settings,
            )
        except (config.ConfigException, OSError) as error:
            raise PlatformError(
                f"platform: found no cluster ({error}), expected a service account or KUBECONFIG"
            ) from error
    # urllib3 would repeat requests by rules of its own; whether to repeat is decided here alone.
    settings.retries = urllib3.Retry(0, redirect=0)
    return Cluster(client.ApiClient(settings), patience=patience)


class Cluster:
    """One API server. Every method raises `ApiError` with one line when it cannot do its work."""

    def __init__(
        self,
        api: client.ApiClient,
        *,
        manager: str = FIELD_MANAGER,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use a client; its own retries should be off.

        Args:
            api: Address and credentials.
            manager: Field manager of every change.
            patience: Retries and timeouts.
            sleep: How to wait.
        """
        self._api, self._manager = api, manager
        self._patience, self._sleep = patience or Patience(), sleep

    def get(self, where: str) -> JSON | None:
        """Return an object; None when it, or its whole kind, does not exist."""
        try:
            return self._repeat("GET", where)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, where: str, **selectors: str) -> list[JSON]:
        """Return the objects of a kind, by labelSelector or fieldSelector."""
        found = self._repeat("GET", where, query=list(selectors.items()))
        return list(found.get("items") or ())

    def apply(
        self, where: str, body: Mapping[str, Any], *, force: bool = False, dry_run: bool = False
    ) -> JSON:
        """Create or change an object by server-side apply, under the field manager.

        Fields that were applied before and are not in the body are given up; fields of others stay.
        Repeating it is harmless, so it is repeated after a lost answer.

        Args:
            where: Path of the object.
            body: The fields to own; with metadata.resourceVersion only that version is changed.
            force: Whether to take fields away from other managers.
            dry_run: Whether to only ask, through every webhook.

        Raises:
            Outdated: If the object is not the version named any more.
            OwnedByAnother: If another manager has set a field differently, and not `force`.
        """
        query = [
            ("fieldManager", self._manager),
            ("force", "true" if force else "false"),
            ("fieldValidation", "Strict"),
        ]
        return self._repeat(
            "PATCH", where, query=query + [("dryRun", "All")] * dry_run, body=body, kind=_APPLY
        )

    def create(self, where: str, body: Mapping[str, Any]) -> JSON:
        """Create an object below a collection; not repeated, for the second would be a conflict."""
        return self._once("POST", where, query=[("fieldManager", self._manager)], body=body)

    def review(self, where: str, body: Mapping[str, Any]) -> JSON:
        """Ask by a POST that changes nothing, such as a SelfSubjectReview; so it is repeated."""
        return self._repeat("POST", where, body=body)

    def replace(self, where: str, body: Mapping[str, Any]) -> JSON:
        """Replace the version of an object that the body's resourceVersion names."""
        return self._repeat("PUT", where, query=[("fieldManager", self._manager)], body=body)

    def delete(self, where: str) -> None:
        """Delete an object and what it owns; one that does not exist is no error."""
        try:
            self._repeat("DELETE", where, query=[("propagationPolicy", "Background")])
        except ApiError as error:
            if error.status != 404:
                raise

    def _repeat(self, method: str, where: str, **request: Any) -> JSON:
        """Send an idempotent request, again when the server was busy or the answer got lost."""
        wait_s = self._patience.first_wait_s
        for _ in range(self._patience.attempts - 1):
            try:
                return self._once(method, where, **request)
            except _Again as error:
                asked_s = error.after_s or wait_s * random.uniform(0.5, 1.5)
                self._sleep(min(asked_s, self._patience.longest_wait_s))
                wait_s *= 2
        return self._once(method, where, **request)

    def _once(
        self,
        method: str,
        where: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> JSON:
        try:
            answer, _, _ = self._api.call_api(
                where,
                method,
                query_params=query or [],
                header_params={"Accept": "application/json", "Content-Type": kind},
                body=None if body is None else dict(body),
                auth_settings=["BearerToken"],
                response_type="object",
                _request_timeout=(self._patience.connect_s, self._patience.read_s),
            )
        except client.ApiException as error:
            raise _error(method, where, error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Again(f"{method} {where}: no answer: {error}", status=0) from error
        return dict(answer or {})


class _Again(ApiError):
    """An error that another attempt may not meet.

    Attributes:
        after_s: When the server wants to be asked again, 0 when it does not say.
    """

    after_s: float = 0.0


def _error(method: str, where: str, error: client.ApiException) -> ApiError:
    try:
        status = json.loads(error.body or "{}")
    except ValueError:
        status = {}
    reason = status.get("message") or error.reason or "no reason given"
    message = f"{method} {where}: {error.status}: {reason}"
    # Server-side apply answers 500 to a field that the kind does not have, today and tomorrow.
    unknown = "field not declared in schema" in reason
    if (error.status in _AGAIN or error.status == 0) and not unknown:
        again = _Again(message, status=error.status)
        after = (error.headers or {}).get("Retry-After", "")
        again.after_s = float(after) if after.isdigit() else 0.0
        return again
    if error.status == 409:
        causes = (status.get("details") or {}).get("causes") or ()
        if any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
            return OwnedByAnother(message, status=409)
        return Outdated(message, status=409)
    return ApiError(message, status=error.status)
