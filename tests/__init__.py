"""The tests, sorted by kind: unit (pure), functional (one process), integration (real servers)."""
