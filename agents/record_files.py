"""Names of the files that a recording worker writes; apart, so that a reader need not load a worker."""

FEATURES = "features.float32"
"""Rows of float32, in the catalogue's order."""
VERDICTS = "verdicts.jsonl"
"""The verdicts of the same rows, one a line."""
