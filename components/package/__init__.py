"""The step that turns a blessed model into a published, checksummed version."""
