"""Messages as bytes, read and written by kernels a batch at a time."""
