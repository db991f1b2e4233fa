"""Trials of hyper-parameters: what the tasks of a search do; the tune step ends it."""
