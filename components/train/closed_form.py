"""Models whose best weights are a formula of the events: fitted at once, without steps."""

import abc
import math
import os
from pathlib import Path

from components.errors import InputError
from components.train.interactions import Interactions
from components.train.retrieval import Retrieval

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class ClosedForm(Retrieval):
    """A model that is fitted at once."""

    @abc.abstractmethod
    def fit_events(self, events: Interactions) -> float:
        """Compute the weights from the train split; return what the curve shows as the loss.

        Raises:
            InputError: If the formula has no solution, or not in the memory there is.
        """


def machine_memory_bytes() -> int:
    """Return the memory of the machine, or of the container when that has less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip() if _CGROUP_LIMIT.is_file() else "max"
    return physical if limit == "max" else min(physical, int(limit))


def refuse_too_many_items(items: int, *, bytes_per_cell: int, memory_bytes: int) -> None:
    """Refuse an items × items matrix that the memory cannot hold, before anything is allocated.

    Args:
        items: Rows of the matrix.
        bytes_per_cell: Most memory that the fit holds at one time, per cell.
        memory_bytes: Memory there is.

    Raises:
        InputError: If it cannot; names the most items it can hold.
    """
    most = math.isqrt(memory_bytes // bytes_per_cell)
    if items > most:
        need, have = items**2 * bytes_per_cell / 1e9, memory_bytes / 1e9
        found = f"{items:,} items, {need:,.1f} GB to fit"
        raise InputError(
            "hyperparameter max_items", found, f"at most {most:,} with {have:,.1f} GB of memory"
        )
