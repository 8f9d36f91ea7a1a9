"""Workers of fraudstream that leave something out or hold something fast, for the benchmark only."""
