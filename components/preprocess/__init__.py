"""Fit a TensorFlow Transform graph on the train split, driven by the schema."""
