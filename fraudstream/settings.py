"""Every setting of fraudstream, as one typed value read once at the edge; no other module reads the environment.

Names are environment variables in upper case. A secret may also come as a file: `POSTGRES_URL_FILE=/run/secrets/pg`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from fraudstream.errors import SettingsError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
WEIGHT_TOLERANCE = 1e-6


class Settings(BaseSettings):
    """All settings with their defaults; `load_settings` reads them from the environment."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # Kafka
    kafka_servers: str | None = Field(
        None, description="bootstrap servers, HOST:PORT[,HOST:PORT]; absent: embedded broker"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how brokers are reached, as Kafka names it"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how a SASL login is proved"
    )
    kafka_sasl_username: str | None = Field(None, description="who this is to Kafka, where the protocol is SASL")
    kafka_sasl_password: SecretStr | None = Field(None, description="the password of KAFKA_SASL_USERNAME")
    kafka_ssl_cafile: Path | None = Field(None, description="CA bundle for SSL; absent: the system's")
    kafka_session_timeout_s: float = Field(10.0, gt=0, description="a worker silent for this long loses its partitions")
    kafka_group_instance_id: str | None = Field(
        None,
        max_length=249,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="a name of this worker's own, kept over restarts: back in time, it gets its partitions at once",
    )
    app_id: str = Field(
        "fraudstream", min_length=1, description="consumer group, and prefix of changelog and transactional ids"
    )

    # Topics
    transactions_topic: str = Field("transactions", description="what your systems produce, keyed by user_id")
    verdicts_topic: str = Field("verdicts", description="one verdict for every transaction")
    alerts_topic: str = Field("alerts", description="the flagged ones, or all with ALERT_ON_ALL")
    dead_letters_topic: str = Field("dead-letters", description="what could not be judged, byte for byte")
    labels_topic: str = Field("labels", description="what transactions turned out to be; read by the audit sink")
    keying: Literal["strict", "payload"] = Field(
        "strict",
        description="strict: a message whose key is not its user_id goes to dead-letters; payload: all are keyed anew "
        "by their user_id, on APP_ID-rekeyed, before they are judged",
    )
    topic_partitions: int = Field(4, ge=1, description="partitions of transactions, verdicts, alerts and the changelog")
    topic_replication: int = Field(1, ge=1, description="copies of each partition; 3 in production")
    alert_on_all: bool = Field(False, description="send every verdict to alerts, not only the flagged ones")

    # Worker
    data_dir: Path = Field(Path("fraudstream-data"), description="RocksDB files; one directory per worker")
    checkpoint_interval_s: float = Field(
        0.1, ge=0.02, le=60,
        description="one Kafka transaction per partition and interval; fewer where commits take long",
    )  # fmt: skip
    allowed_lateness_s: int = Field(3600, ge=0, le=30 * 86400, description="later events are scored and marked late")
    standby_replicas: int = Field(
        0, ge=0, description="other workers that keep each partition's profiles warm; the same for all workers"
    )
    liveness_stall_s: float = Field(
        90.0, ge=1, description="/health/live says no after a standstill of this length that a restart could mend"
    )
    profile_cache_size: int = Field(50_000, ge=0, description="profiles kept in memory before RocksDB is asked")

    # Model
    model_dir: Path | None = Field(
        None, description="a model made by `fraudstream train`; absent: the one in the package"
    )
    model_registry: Path | None = Field(
        None,
        description="directory of `fraudstream models`: its promoted model is used and followed; not with MODEL_DIR",
    )
    scorer: str | None = Field(
        None, description="an installed model of your own, by its entry point's name; absent: the built-in ensemble"
    )
    model_poll_interval_s: float = Field(
        5.0, gt=0, le=3600, description="how often a worker looks whether another model was promoted"
    )
    contamination: float = Field(0.10, gt=0, lt=1, description="share of ordinary traffic that is flagged")
    contamination_by: Literal["none", "category"] = Field(
        "none", description="category: that share of each category's traffic instead of all"
    )
    ensemble_weights: Annotated[tuple[float, float, float], NoDecode] = Field(
        (0.4, 0.4, 0.2), description="forest,autoencoder,lstm; must sum to 1"
    )

    # Library
    sink_queue_verdicts: int = Field(
        20_000, ge=1, description="verdicts that may wait for each sink; what comes then is dropped for it and counted"
    )

    # Web view
    web_host: str = Field("127.0.0.1", description="address of the HTTP view; another than loopback needs keys")
    web_port: int = Field(8000, ge=0, le=65535, description="port of the HTTP view; 0: a free one")
    api_keys: SecretStr | None = Field(None, description="comma-separated keys that may call /predict")
    api_key_hashes_file: Path | None = Field(
        None, description="keys as `fraudstream keys` writes them, hashed; read again when the file changes"
    )
    api_key_rate: float = Field(
        0.0, ge=0, description="transactions a second that a key without a rate of its own may ask about; 0: no limit"
    )
    allow_anonymous: bool = Field(False, description="serve another address than loopback without keys")
    max_body_bytes: int = Field(65_536, ge=1024, description="largest body of a request")
    max_batch_body_bytes: int = Field(1_048_576, ge=1024, description="largest body of a request to /predict/batch")
    answers_kept: int = Field(
        100_000,
        ge=0,
        description="answers of /predict that are remembered, about 1 kB each: the same request gets the same",
    )
    answer_ttl_s: float = Field(600.0, gt=0, description="how long an answer is remembered")
    record_timeout_s: float = Field(
        5.0, gt=0, le=60, description="how long the broker may take for a transaction of ?record=true"
    )
    drain_s: float = Field(
        1.0, ge=0, le=60, description="how long a stopping process says that it is not ready before it stops listening"
    )
    access_log: bool = Field(True, description="one line of log for each request, without personal data")

    # Stores
    redis_host: str | None = Field(
        None,
        description="keeps copies of profiles: HOST, HOST:PORT, redis:// or rediss:// (TLS); absent: in the process",
    )
    redis_username: str | None = Field(None, description="who this is to Redis")
    redis_password: SecretStr | None = Field(None, description="the password of REDIS_USERNAME")
    redis_ssl_cafile: Path | None = Field(None, description="CA bundle for rediss://; absent: the system's")
    profile_ttl_s: float = Field(
        35 * 86400, ge=60, description="a copy in Redis that was not written for this long goes"
    )
    profile_source: Literal["owner", "cache"] = Field(
        "owner", description="where /predict gets profiles that another worker owns: from it, or from Redis"
    )
    profile_timeout_s: float = Field(
        0.25, gt=0, le=30, description="how long /predict waits for another worker or Redis"
    )
    worker_url: str | None = Field(
        None, description="http://HOST:PORT at which other workers reach this one; absent: WEB_HOST and WEB_PORT"
    )
    worker_key: SecretStr | None = Field(
        None, description="what workers show each other when they ask for profiles; absent: the first of API_KEYS"
    )
    postgres_url: SecretStr | None = Field(
        None, description="where the audit trail is kept, postgresql://...; absent: a SQLite file in DATA_DIR"
    )

    # Audit sink
    audit_group: str | None = Field(None, description="consumer group of the audit sink; absent: APP_ID-audit")
    audit_batch_rows: int = Field(5_000, ge=1, le=100_000, description="verdicts in one database transaction, at most")
    audit_batch_interval_s: float = Field(
        0.5, ge=0, le=60, description="a verdict waits at most this long for others to be stored with it"
    )
    audit_retention_months: int | None = Field(
        None, ge=1, description="whole months kept beside this one by `fraudstream audit retain`; absent: all"
    )
    audit_web_port: int = Field(8001, ge=0, le=65535, description="/health and /metrics of the audit sink")

    @field_validator("ensemble_weights", mode="before")
    @classmethod
    def _split_weights(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("ensemble_weights")
    @classmethod
    def _weights_sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) < 0 or abs(sum(value) - 1) > WEIGHT_TOLERANCE:
            raise ValueError("expected three weights >= 0 that sum to 1")
        return value

    @field_validator(
        "model_dir",
        "model_registry",
        "api_key_hashes_file",
        "redis_host",
        "redis_ssl_cafile",
        "worker_url",
        "scorer",
        "kafka_group_instance_id",
        mode="before",
    )
    @classmethod
    def _blank_is_absent(cls, value: object) -> object:
        return None if value == "" else value  # "" would be the current directory

    @field_validator("worker_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/\s]+:\d+/?", value):
            raise ValueError(f"expected http://HOST:PORT, got {value!r}")
        return value and value.rstrip("/")

    @model_validator(mode="after")
    def _a_cache_to_read(self) -> Settings:
        if self.profile_source == "cache" and self.redis_host is None:
            raise ValueError(
                "PROFILE_SOURCE=cache: expected REDIS_HOST, where workers leave copies of profiles; "
                "set it, or PROFILE_SOURCE=owner"
            )
        return self

    @model_validator(mode="after")
    def _a_broker_that_keeps_transactions(self) -> Settings:
        if self.keying == "payload" and self.kafka_servers is None:
            raise ValueError(
                "KEYING=payload: expected KAFKA_SERVERS, because messages are keyed anew in Kafka transactions, which "
                "the embedded broker does not keep; set it, or KEYING=strict"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_the_model(self) -> Settings:
        if self.model_dir is not None and self.model_registry is not None:
            raise ValueError(
                f"MODEL_DIR={self.model_dir} and MODEL_REGISTRY={self.model_registry}: expected one of them; "
                "unset MODEL_DIR to score with the registry's promoted model, or MODEL_REGISTRY to stay with this one"
            )
        if self.scorer is not None and self.model_registry is not None:
            raise ValueError(
                f"SCORER={self.scorer} and MODEL_REGISTRY={self.model_registry}: expected one of them; "
                "a registry holds models of the built-in ensemble only"
            )
        if self.scorer is not None and self.contamination_by != "none":
            raise ValueError(
                f"SCORER={self.scorer} and CONTAMINATION_BY={self.contamination_by}: expected CONTAMINATION_BY=none; "
                "thresholds by category are made from what the built-in ensemble was fitted to"
            )
        return self

    @model_validator(mode="after")
    def _no_open_door(self) -> Settings:
        if self.web_host not in LOOPBACK and not self.needs_key and not self.allow_anonymous:
            raise ValueError(
                f"WEB_HOST={self.web_host} is reachable from other machines and API_KEYS is empty: "
                "set API_KEYS or API_KEY_HASHES_FILE, or ALLOW_ANONYMOUS=true if something in front of it checks "
                "who calls"
            )
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs "
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys, without the blanks around them."""
        raw = self.api_keys.get_secret_value() if self.api_keys else ""
        return tuple(key.strip() for key in raw.split(",") if key.strip())

    @property
    def needs_key(self) -> bool:
        """Whether callers of the web view must show a key."""
        return bool(self.keys) or self.api_key_hashes_file is not None

    @property
    def audit_consumer_group(self) -> str:
        """The consumer group of the audit sink."""
        return self.audit_group or f"{self.app_id}-audit"

    @property
    def topic_names(self) -> tuple[str, ...]:
        """The topics of a worker that users see: transactions, verdicts, alerts, dead-letters."""
        return (self.transactions_topic, self.verdicts_topic, self.alerts_topic, self.dead_letters_topic)

    def masked(self) -> dict[str, str]:
        """Every setting as text with secrets hidden, for `fraudstream doctor` and logs."""
        return {
            name.upper(): "********" if isinstance(value, SecretStr) else "" if value is None else _as_text(name, value)
            for name, value in ((name, getattr(self, name)) for name in type(self).model_fields)
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads NAME from the file that NAME_FILE points to, the way Docker and Kubernetes mount secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name.upper()}_FILE") if "SecretStr" in str(field.annotation) else None
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except OSError as error:
            raise SettingsError(
                f"{field_name.upper()}_FILE={path}: expected a readable file ({error.strerror})"
            ) from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def load_settings(**overrides: Any) -> Settings:
    """Reads the environment once; `overrides` (command-line options) win.

    A model that is named by an override also wins over the environment's other way of naming one.

    Raises:
        SettingsError: names the variable, what was expected and what to do.
    """
    unknown = sorted(overrides.keys() - Settings.model_fields.keys())
    if unknown:
        raise SettingsError(
            f"{', '.join(unknown)}: expected names of settings such as contamination or allowed_lateness_s; "
            "fraudstream.Settings has them all"
        )
    for name, other in (("model_dir", "model_registry"), ("model_registry", "model_dir")):
        if overrides.get(name) is not None:
            overrides.setdefault(other, None)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = [
            f"{'_'.join(str(part) for part in problem['loc'][:1]).upper() or 'settings'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise SettingsError("; ".join(problems)) from None


def _as_text(name: str, value: object) -> str:
    if name == "redis_host":
        return re.sub(r"//[^/]*@", "//********@", str(value))  # a URL may hold a password
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
