"""One folder is one step of the pipeline; the modules beside the folders are what steps share."""

import os

# Importing TensorFlow Transform sets this to 1, which would swap Keras 3 for tf-keras in whatever
# is imported after it. Every step imports this package first, so the choice is made here, once.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# On one machine the steps are child processes of the pipeline. When somebody kills the pipeline
# outright, a step must not live on and publish or deploy behind the back of the next run.
if os.environ.get("SHOPFLOW_DIE_WITH_PARENT") == "1":
    import ctypes
    import signal

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
