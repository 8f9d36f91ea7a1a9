"""Every setting of fraudstream, as one typed value read once at the edge; no other module reads the environment.

Names are environment variables in upper case. A secret may also come as a file: `POSTGRES_URL_FILE=/run/secrets/pg`.
"""

from __future__ import annotations

import os
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
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = Field(None, description="CA bundle for SSL; absent: the system's")
    kafka_session_timeout_s: float = Field(10.0, gt=0, description="a worker silent for this long loses its partitions")
    app_id: str = Field(
        "fraudstream", min_length=1, description="consumer group, and prefix of changelog and transactional ids"
    )

    # Topics
    transactions_topic: str = "transactions"
    verdicts_topic: str = "verdicts"
    alerts_topic: str = "alerts"
    dead_letters_topic: str = "dead-letters"
    topic_partitions: int = Field(4, ge=1, description="partitions of transactions, verdicts, alerts and the changelog")
    topic_replication: int = Field(1, ge=1, description="copies of each partition; 3 in production")
    alert_on_all: bool = Field(False, description="send every verdict to alerts, not only the flagged ones")

    # Worker
    data_dir: Path = Field(Path("fraudstream-data"), description="RocksDB files; one directory per worker")
    checkpoint_interval_s: float = Field(
        0.1, ge=0.02, le=60, description="one Kafka transaction per partition and interval"
    )
    allowed_lateness_s: int = Field(3600, ge=0, le=30 * 86400, description="later events are scored and marked late")
    profile_cache_size: int = Field(50_000, ge=0, description="profiles kept in memory before RocksDB is asked")

    # Model
    model_dir: Path | None = Field(
        None, description="a model made by `fraudstream train`; absent: the one in the package"
    )
    model_registry: Path | None = Field(
        None,
        description="directory of `fraudstream models`: its promoted model is used and followed; not with MODEL_DIR",
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

    # Web view
    web_host: str = "127.0.0.1"
    web_port: int = Field(8000, ge=0, le=65535)
    api_keys: SecretStr | None = Field(None, description="comma-separated keys that may call /predict")
    allow_anonymous: bool = Field(False, description="serve another address than loopback without keys")
    max_body_bytes: int = Field(65_536, ge=1024)

    # Stores
    redis_host: str | None = None
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

    @field_validator("model_dir", "model_registry", mode="before")
    @classmethod
    def _blank_is_absent(cls, value: object) -> object:
        return None if value == "" else value  # "" would be the current directory

    @model_validator(mode="after")
    def _one_source_of_the_model(self) -> Settings:
        if self.model_dir is not None and self.model_registry is not None:
            raise ValueError(
                f"MODEL_DIR={self.model_dir} and MODEL_REGISTRY={self.model_registry}: expected one of them; "
                "unset MODEL_DIR to score with the registry's promoted model, or MODEL_REGISTRY to stay with this one"
            )
        return self

    @model_validator(mode="after")
    def _no_open_door(self) -> Settings:
        if self.web_host not in LOOPBACK and not self.keys and not self.allow_anonymous:
            raise ValueError(
                f"WEB_HOST={self.web_host} is reachable from other machines and API_KEYS is empty: "
                "set API_KEYS, or ALLOW_ANONYMOUS=true if something in front of it checks who calls"
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
    def audit_consumer_group(self) -> str:
        """The consumer group of the audit sink."""
        return self.audit_group or f"{self.app_id}-audit"

    @property
    def topic_names(self) -> tuple[str, ...]:
        """The topics that users see: transactions, verdicts, alerts, dead-letters."""
        return (self.transactions_topic, self.verdicts_topic, self.alerts_topic, self.dead_letters_topic)

    def masked(self) -> dict[str, str]:
        """Every setting as text with secrets hidden, for `fraudstream doctor` and logs."""
        return {
            name.upper(): "********" if isinstance(value, SecretStr) else "" if value is None else _as_text(value)
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


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
