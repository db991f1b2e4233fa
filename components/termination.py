"""Ending when told to: SIGTERM unwinds the stack instead of cutting it off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from components.failure import leave_termination


@contextmanager
def exiting_on_sigterm() -> Iterator[None]:
    """Make SIGTERM raise SystemExit in the block, so that what it began is taken away again.

    Only the first one does; whoever is in a hurry then has SIGKILL. Python lets only the main
    thread set handlers; in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        leave_termination(number, frame)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
