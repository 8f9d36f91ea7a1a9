"""The tree of errors that fraudstream raises; nothing but error types may live here.

FraudstreamError                every error that is ours
├── RefusedInput                a message or request that cannot be scored (goes to dead-letters, or HTTP 400)
├── SettingsError               an environment variable or option is wrong or missing
├── DataFileError               a file of transactions lacks a column or holds values that cannot be read
├── ModelError                  a model directory cannot be used
│   └── ModelMismatch           its manifest does not fit this code
├── ProfileError                a stored profile cannot be read (corrupt, or from a newer version)
├── EvidenceError               there is no evidence of a transaction, or it cannot be read
├── TopicError                  a topic is missing or has the wrong number of partitions
├── BrokerError                 the broker cannot be reached or refuses
└── Fenced                      another worker owns this partition now: this process is the past
"""


class FraudstreamError(Exception):
    """Base of all errors raised on purpose; its text says what was expected, what came, and what to do."""


class RefusedInput(FraudstreamError):
    """A transaction that cannot be scored.

    Args:
        reason: stable machine-readable code (see `fraudstream.dead_letter.REASONS`).
        detail: one sentence that names the field, what was expected and what came.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class SettingsError(FraudstreamError):
    """A setting is wrong or missing."""


class DataFileError(FraudstreamError):
    """A file of transactions cannot be used."""


class ModelError(FraudstreamError):
    """A model directory cannot be used."""


class ModelMismatch(ModelError):
    """A model's manifest does not fit this code (another feature catalogue, format or file content)."""


class ProfileError(FraudstreamError):
    """A stored profile cannot be read."""


class EvidenceError(FraudstreamError):
    """There is no evidence of a transaction, or it cannot be read."""


class TopicError(FraudstreamError):
    """A topic is missing, or its partitions are not what the worker needs."""


class BrokerError(FraudstreamError):
    """The broker cannot be reached, or refuses what was asked."""


class Fenced(FraudstreamError):
    """Another worker has taken over this partition; whatever this process still holds is out of date."""
