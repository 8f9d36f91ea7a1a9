"""Real servers for the tests, started on this machine and stopped again."""
