"""Tries to break the promises of docs/guarantees.md on a real Kafka: `make test-chaos`; see `__main__`.

A scenario breaks workers, brokers, disks or clocks while transactions keep coming; then an independent judge, a plain
client (librdkafka, which the worker does not use) and the naive oracle, says what came of it.
"""
