"""A search for hyper-parameters as the steps that share it see it: its space, trials, choices.

A study is a folder of an object store. `train` runs its trials, `tune` ends it; neither imports the
other.
"""
