"""Temporary services: a candidate on servers of its own, before the service is touched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.platform.interface import PlatformError

# Label of a temporary service: the service whose candidate it runs.
TEMPORARY_OF = "shopflow/temporary-of"
# Label of a temporary service: the pipeline run that made it.
RUN = "shopflow/run"
_SHORTEST = 4


def temporary_name(service: str, *, mark: str) -> str:
    """Return a name for a temporary service.

    It is no longer than the service's own name, for which the host names that are made of it are
    known to be short enough, unless that is shorter than the mark and a few letters.

    Args:
        service: The service whose candidate is tried.
        mark: Lower-case letters and digits that make the name unique.
    """
    kept = max(_SHORTEST, len(service) - len(mark) - 1)
    return f"{service[:kept].rstrip('-')}-{mark}"


@contextmanager
def deleted_afterwards(service: str, delete: Callable[[], None]) -> Iterator[None]:
    """Delete a temporary service however the block ends.

    Args:
        service: Its name.
        delete: Deletes it and returns once it is gone; may be called again.

    Raises:
        PlatformError: If it is still there, naming it after whatever else went wrong.
    """
    try:
        yield
    except BaseException as error:
        ensure_deleted(service, delete, before=f"{error}; and ")
        raise
    ensure_deleted(service, delete)


def ensure_deleted(service: str, delete: Callable[[], None], *, before: str = "") -> None:
    """Delete a temporary service, also when told to end in the middle of it.

    Args:
        service: Its name.
        delete: Deletes it and returns once it is gone; may be called again.
        before: What the error begins with.

    Raises:
        PlatformError: If it is still there, naming it.
    """
    try:
        delete()
    except PlatformError as error:
        raise PlatformError(
            f"{before}temporary service {service} is left behind: {error}"
        ) from error
    except (SystemExit, KeyboardInterrupt):
        delete()
        raise
