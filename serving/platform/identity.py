"""Who or what changes a service, for the release record."""

import getpass
import os
import socket
from typing import TYPE_CHECKING

from serving.platform.interface import PlatformError

if TYPE_CHECKING:
    from serving.platform.cluster import Cluster  # loads the Kubernetes client

_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def local_user() -> str:
    """Return user@host; a user without a name, as containers have them, by number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


class ClusterIdentity:
    """The service account or user an API server takes us for."""

    def __init__(self, cluster: "Cluster") -> None:
        """Ask this API server, when it is first needed."""
        self._cluster, self._found = cluster, ""

    def __call__(self) -> str:
        """Return the user name of a SelfSubjectReview (authentication.k8s.io/v1).

        Every authenticated user may create one. Where it is not answered, user@host and a word
        why; then the next time asks again.
        """
        if self._found:
            return self._found
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            answer = self._cluster.review(_REVIEWS, review)
        except PlatformError as error:
            return f"{local_user()} (the API server did not say who: {str(error)[:200]})"
        self._found = str(((answer.get("status") or {}).get("userInfo") or {}).get("username", ""))
        return self._found or f"{local_user()} (the API server knows no user name)"
