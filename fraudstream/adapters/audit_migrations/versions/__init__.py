"""One module a step, applied in order and never changed once released."""
