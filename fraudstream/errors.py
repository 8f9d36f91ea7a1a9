"""The tree of errors that fraudstream raises; nothing but error types, and how one is said, may live here.

FraudstreamError                every error that is ours
├── RefusedInput                a message or request that cannot be scored (goes to dead-letters, or HTTP 400)
├── SettingsError               an environment variable or option is wrong or missing
├── DataFileError               a file or frame of transactions lacks a column or holds values that cannot be read
├── ModelError                  a model directory cannot be used
│   └── ModelMismatch           its manifest does not fit this code
├── FeatureError                a feature of one's own cannot be used
├── ProfileError                a stored profile cannot be read (corrupt, or from a newer version)
├── StoreError                  the profiles on local disk cannot be used (damaged, disk full, rights)
├── EvidenceError               there is no evidence of a transaction, or it cannot be read
├── TopicError                  a topic is missing or has the wrong number of partitions
├── BrokerError                 the broker cannot be reached or refuses
├── CacheUnavailable            Redis cannot be reached, is slow, full or refuses
├── AuditError                  the audit trail cannot be used: not migrated, rights are missing, contradicted
│   └── AuditUnavailable        its database does not answer now: waiting helps
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
    """A file or frame of transactions cannot be used."""


class ModelError(FraudstreamError):
    """A model directory cannot be used."""


class ModelMismatch(ModelError):
    """A model's manifest does not fit this code (another feature catalogue, format or file content)."""


class FeatureError(FraudstreamError):
    """A feature of one's own is declared wrongly, cannot be loaded, or came too late for the catalogue."""


class ProfileError(FraudstreamError):
    """A stored profile cannot be read."""


class StoreError(FraudstreamError):
    """The database of profiles on local disk cannot be used."""


class EvidenceError(FraudstreamError):
    """There is no evidence of a transaction, or it cannot be read."""


class TopicError(FraudstreamError):
    """A topic is missing, or its partitions are not what the worker needs."""


class BrokerError(FraudstreamError):
    """The broker cannot be reached, or refuses what was asked."""


class CacheUnavailable(FraudstreamError):
    """The cache of profiles cannot be reached, does not answer in time, or refuses what was asked."""


class AuditError(FraudstreamError):
    """The audit trail cannot be used as it is, or contradicts what it is given."""


class AuditUnavailable(AuditError):
    """The database of the audit trail does not answer, or cannot take what it is given just now."""


class Fenced(FraudstreamError):
    """Another worker has taken over this partition; whatever this process still holds is out of date."""


def said(error: BaseException) -> str:
    """What an error says; its kind where it says nothing, as time-outs do."""
    return str(error) or type(error).__name__
