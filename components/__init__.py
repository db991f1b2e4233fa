"""One folder is one step of the pipeline; the modules beside the folders are what steps share."""

import os

from components.failure import leave_failure
from components.lifeline import hold_lifeline

# Importing TensorFlow Transform sets this to 1, which would swap Keras 3 for tf-keras in whatever
# is imported after it. Every step imports this package first, so the choice is made here, once.
os.environ["TF_USE_LEGACY_KERAS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

hold_lifeline()
leave_failure()
