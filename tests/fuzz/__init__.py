"""Random bytes against everything that reads what others wrote; `python -m tests.fuzz` looks for new ones."""
