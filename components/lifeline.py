"""On one machine, steps are processes that must not outlive their pipeline."""

import os
import select
import threading

# Process id of the local run, in the environment of every process below it.
RUN_PID = "SHOPFLOW_RUN_PID"
_KILLED = 137


def hold_lifeline() -> None:
    """End this process as soon as the local run it belongs to is gone; without one, do nothing.

    When somebody kills a pipeline outright, a step that lives on could publish or deploy behind the
    back of the next run. The kernel's parent-death signal does not do here: between the run and the
    step stands a shell, which lives on.
    """
    pid = os.environ.get(RUN_PID)
    if pid is None or int(pid) == os.getpid():
        return
    try:
        run = os.pidfd_open(int(pid))
    except ProcessLookupError:
        os._exit(_KILLED)
    threading.Thread(target=_end_with, args=(run,), daemon=True).start()


def _end_with(run: int) -> None:
    poll = select.poll()
    poll.register(run, select.POLLIN)
    poll.poll()
    os._exit(_KILLED)
