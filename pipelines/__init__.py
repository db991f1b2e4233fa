"""Pipelines: composition of the steps, and the data-set configurations."""
