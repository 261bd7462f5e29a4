"""How to reach the broker and how long a task may take, from `BATCHSIGHT_*` in the environment."""

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from console.settings import from_environment

PREDICT_QUEUE = "predict"
TENSORFLOW_QUEUE = "predict.tensorflow"
"""Batches that need TensorFlow, which not every worker has."""
PREDICT_QUEUES = (PREDICT_QUEUE, TENSORFLOW_QUEUE)
SWEEP_QUEUE = "sweep"
TRAIN_QUEUE = "train"

VISIBILITY_FACTOR = 2.5
"""How many times the time limit Redis waits before it hands a message out again."""

CONSUMERS = ("worker", "trainer")
"""Names of the apps that take messages."""


def unacked_key(app: str) -> str:
    """Where Redis keeps what the consumers of an app have taken and not acknowledged.

    Each app has its own: what is taken for lost is told by its own time-outs.
    """
    return f"unacked.{app}"


class BrokerSettings(BaseSettings):
    """The broker as one process sees it. Unset variables take the defaults below."""

    model_config = SettingsConfigDict(
        env_prefix="BATCHSIGHT_", frozen=True, hide_input_in_errors=True
    )

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        repr=False,
        description="The broker: `redis://[user:password@]host:port/db`, `rediss://` for TLS.",
    )
    redis_password: SecretStr | None = Field(
        default=None,
        repr=False,
        description="Password of the broker, when it is not part of the URL.",
    )
    redis_password_file: Path | None = Field(
        default=None, description="File with that password, as container secrets are given."
    )
    redis_ca: Path | None = Field(
        default=None, description="File with the CA that signed the broker's TLS certificate."
    )
    soft_time_limit_seconds: int = Field(
        default=240,
        ge=1,
        description="A step of a batch, one image or one chunk, that takes longer is stopped.",
    )
    time_limit_seconds: int = Field(
        default=300, ge=2, description="A step that takes longer ends its worker process."
    )
    sweep_seconds: float = Field(
        default=10.0, ge=1.0, description="How often beat looks for jobs that stand still."
    )
    shutdown_seconds: int = Field(
        default=25, ge=1, description="How long a stopping worker may finish its batch."
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            # A password with an unquoted / or # ends the host early and the rest would be shown.
            good = (
                parts.scheme in ("redis", "rediss")
                and parts.hostname
                and parts.port != 0
                and re.fullmatch(r"/?[0-9]*", parts.path)
                and not parts.fragment
                and all(name.startswith("ssl_") for name, _ in parse_qsl(parts.query, True, True))
            )
        except ValueError:  # its message would repeat parts of the URL
            good = False
        if not good:
            raise ValueError(
                "write it as redis://host:6379/0, or rediss:// for TLS (no Sentinel, no socket); "
                "quote special characters of a password (%2F for /)"
            )
        return url

    @model_validator(mode="before")
    @classmethod
    def _read_password(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("redis_password_file")
        if not path or values.get("redis_password"):
            return values
        try:
            return {**values, "redis_password": Path(path).read_text("utf-8").strip()}
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "it is not UTF-8 text")
            raise ValueError(
                f"BATCHSIGHT_REDIS_PASSWORD_FILE is {path}, which cannot be read ({reason})"
            ) from None

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> "BrokerSettings":
        if self.soft_time_limit_seconds >= self.time_limit_seconds:
            raise ValueError(
                f"BATCHSIGHT_SOFT_TIME_LIMIT_SECONDS={self.soft_time_limit_seconds} must be below "
                f"BATCHSIGHT_TIME_LIMIT_SECONDS={self.time_limit_seconds}"
            )
        return self

    @model_validator(mode="after")
    def _ca_is_usable(self) -> "BrokerSettings":
        if self.redis_ca and self._is_tls:
            import ssl  # redis imports it as well, but only where it is used

            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.redis_ca)
            except ssl.SSLError:
                raise ValueError(
                    f"BATCHSIGHT_REDIS_CA: {self.redis_ca} holds no certificate in PEM format"
                ) from None
            except OSError as error:
                raise ValueError(
                    f"BATCHSIGHT_REDIS_CA: {self.redis_ca} cannot be read ({error.strerror})"
                ) from None
        return self

    @property
    def _is_tls(self) -> bool:
        return urlsplit(self.redis_url).scheme == "rediss"

    @property
    def url(self) -> str:
        """The broker's URL with password and TLS options, as its clients take it. Secret."""
        parts = urlsplit(self.redis_url)
        if self.redis_password and not parts.password:
            user = parts.username or ""
            host = parts.netloc.rpartition("@")[2]
            secret = quote(self.redis_password.get_secret_value(), safe="")
            parts = parts._replace(netloc=f"{user}:{secret}@{host}")
        if parts.scheme == "rediss" and "ssl_cert_reqs" not in parts.query:
            options = {"ssl_cert_reqs": "required"}
            if self.redis_ca:
                options["ssl_ca_certs"] = str(self.redis_ca)
            parts = parts._replace(query="&".join(filter(None, [parts.query, urlencode(options)])))
        return urlunsplit(parts)

    @property
    def public_url(self) -> str:
        """The broker's URL without secrets, for people to read."""
        parts = urlsplit(self.redis_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))

    @property
    def visibility_timeout_seconds(self) -> int:
        """After how long Redis may hand out an unacknowledged message again."""
        return int(VISIBILITY_FACTOR * self.time_limit_seconds)


@cache
def broker_settings() -> BrokerSettings:
    """Read the environment once per process."""
    return from_environment(BrokerSettings)
