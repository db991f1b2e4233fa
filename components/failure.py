"""The line a dying step leaves behind, for whoever reports how the run ended."""

import json
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType

from components.errors import InputError

# Only KFP's own pods have it (kubeflow/pipelines: argocompiler/common.go, commonEnvs).
POD = "KFP_POD_NAME"
# Kubernetes reads it when the container ends, and Argo puts it into the node's message.
TERMINATION_LOG = Path("/dev/termination-log")
LOCAL_NAME = "termination-log"
_LONGEST = 1000  # Kubernetes cuts at 4096 bytes
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(\w+://[^\s?]*)\?[^\s,;)'\"]*")
_place: Path | None = None  # where this process leaves its line; None outside of KFP
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


def leave_failure(termination_log: Path = TERMINATION_LOG) -> None:
    """In a step that KFP runs, make what ends it leave a line; elsewhere do nothing.

    That is an error, or SIGTERM: a pod is evicted, or a run cancelled. On a cluster the line is the
    container's termination message. Where there is none, `kfp.local` gives each task a folder of
    its own, in which a finished step has written its outputs: the line goes there, and a folder
    with neither is of a step that was killed.

    Args:
        termination_log: Where the container's termination message is written.
    """
    global _place
    words = sys.argv
    if "--executor_input" not in words[:-1]:
        return
    given = json.loads(words[words.index("--executor_input") + 1])
    _place = termination_log
    if not os.environ.get(POD) or not os.access(_place, os.W_OK):
        _place = Path(given["outputs"]["outputFile"]).with_name(LOCAL_NAME)
        with suppress(OSError):  # the step's own error comes when it writes its outputs there
            _place.parent.mkdir(parents=True, exist_ok=True)
    show = sys.excepthook

    def leave(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        show(kind, error, trace)
        leave_line(_line_of(error))

    sys.excepthook = leave
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        step = os.getpid()

        def end(number: int, frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_DFL)
            if os.getpid() == step:  # a fork of the step inherits this, and is often ended so
                leave_termination(number, frame)
            signal.raise_signal(number)

        signal.signal(signal.SIGTERM, end)


def leave_line(text: str) -> None:
    """Leave a line as this step's last, in a step that KFP runs; elsewhere do nothing."""
    if _place is not None:
        with suppress(OSError):
            _place.write_text(public_line(text), encoding="utf-8", errors="replace")


def leave_termination(number: int, frame: FrameType | None) -> None:
    """Leave the line of a step that a signal ends: which, and where in our code it was."""
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("components."):
        frame = frame.f_back
    at = "starting"
    if frame is not None:
        at = f"in {frame.f_globals['__name__']}.{frame.f_code.co_qualname}"
    leave_line(f"terminated by {signal.Signals(number).name} while {at}")


def _line_of(error: BaseException) -> str:
    """Return an error's line; what our own say needs no kind before it, "'user_id'" does."""
    own = isinstance(error, InputError | RuntimeError) and str(error)
    return own or f"{type(error).__name__}: {error}"


def public_line(text: str) -> str:
    """Return a text as one bounded line without what is not for everybody.

    That is what URLs carry beside the place (user, password, query) and e-mail addresses. It is
    the last net: what a step says of an error holds no secret to begin with.
    """
    line = _CREDENTIALS.sub("", " ".join(text[: 4 * _LONGEST].split()))
    line = _EMAIL.sub("(e-mail address)", _QUERY.sub(r"\1", line))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
