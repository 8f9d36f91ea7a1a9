"""Real-time fraud detection on Kafka: exact per-user state, three models, a verdict with reasons for each payment."""

__version__ = "0.1.0"
