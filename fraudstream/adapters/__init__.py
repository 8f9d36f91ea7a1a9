"""The outside world, one client a module: the only room of the library that may import client libraries."""
