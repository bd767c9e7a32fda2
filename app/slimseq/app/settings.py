"""Every setting of the service, read once from `SLIMSEQ_*` environment variables.

Values that cannot work are refused here, with the setting's name, before anything is opened.
"""

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from slimseq.models_store.manifest import Task
from slimseq.models_store.places import default_store

_PREFIX = "SLIMSEQ_"
# `slimseq sign` reads `SLIMSEQ_KEY_PASSWORD`.
_OF_COMMANDS = ("key_password",)
_VARIANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


RuntimeChoice = Literal["auto", "onnxruntime", "ctranslate2", "torch", "torch-bf16"]


class Settings(BaseSettings):
    """What an operator may choose; the defaults are right for a laptop."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    store: Path = Field(
        default_factory=default_store,
        description="Folder of the artifacts, `<task>/<variant>/` each; unset: ./artifacts where it holds any, else "
        "the embedded models.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    runtime: RuntimeChoice = Field(
        default="auto", description="Runtime that opens artifacts; `auto` takes the fastest measured on such a CPU."
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=512,
        description="Generations of a variant at a time; 0: what `benchmark --tune` found, else one a core, up to 4.",
    )
    threads: int = Field(default=0, ge=0, le=512, description="Threads of one generation; 0 shares the cores out.")
    default_summarization: str | None = Field(
        default=None,
        description="Variant that summarizes when none is named; else quantized, original or another that serves.",
    )
    default_translation: str | None = Field(
        default=None,
        description="Variant that translates when none is named; else quantized, original or another that serves.",
    )
    preload: Annotated[tuple[tuple[Task, str], ...], NoDecode] = Field(
        default=(), description="Variants to open at the start, `task/variant` with commas; empty: the defaults."
    )
    max_resident_bytes: int = Field(
        default=0, ge=0, description="Bytes that open variants may take together, the least used go; 0: no limit."
    )
    idle_unload_seconds: float = Field(
        default=0, ge=0, description="A variant that no request has used for so long is closed; 0: never."
    )
    admin_token: SecretStr | None = Field(
        default=None, description="What loads and unloads variants, as `Authorization: Bearer TOKEN`; unset: nobody."
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, le=1024**3, description="Bytes of a request's body that are read."
    )
    max_texts: int = Field(default=64, ge=1, le=4096, description="Texts in one request.")
    max_text_characters: int = Field(default=1_000_000, ge=1, description="Characters of one request's texts.")
    max_batch_rows: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Sequences that one batch decodes, its rows times their beams, where rows start and end together.",
    )
    max_batch_tokens: int = Field(
        default=16384,
        ge=64,
        description="Tokens, in and out, that rows in flight are likely to come to, where rows join and leave.",
    )
    batch_wait_seconds: float = Field(
        default=0.003,
        ge=0,
        le=1,
        description="How long an idle worker waits for others to batch with, where requests meet.",
    )
    queue_rows: int = Field(default=4096, ge=1, description="Rows that may wait for one variant; more are refused.")
    request_timeout_seconds: float = Field(default=60, gt=0, le=3600, description="After this a request gets a 504.")
    max_connections: int = Field(
        default=512,
        ge=1,
        le=65_536,
        description="Open connections. At the limit, a new one replaces the oldest that has no request in progress.",
    )
    max_header_bytes: int = Field(
        default=32 * 1024, ge=1024, le=1024**2, description="Bytes of a request's first line and headers."
    )
    header_timeout_seconds: float = Field(
        default=10, gt=0, le=600, description="Time for a new connection to send the first line and all headers."
    )
    shutdown_grace_seconds: int = Field(
        default=10,
        ge=0,
        le=600,
        description="Time for running requests to end after SIGTERM or SIGINT; the process ends within a second after.",
    )
    latency_window_seconds: float = Field(default=300, gt=0, le=86400, description="The window of `GET /latency`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level to log.")
    evaluation_max_pairs: int = Field(default=1000, ge=1, le=100_000, description="Pairs of one evaluation.")
    evaluation_queue: int = Field(default=8, ge=1, le=1000, description="Evaluations that wait; one runs at a time.")
    evaluation_kept: int = Field(default=50, ge=1, le=10_000, description="Finished evaluations that are remembered.")

    @model_validator(mode="after")
    def _environment_has_no_others(self) -> Self:
        settings = list(type(self).model_fields)
        for variable in sorted(os.environ):
            name = variable.lower().removeprefix(_PREFIX.lower())
            if variable.upper().startswith(_PREFIX) and name not in (*settings, *_OF_COMMANDS):
                nearest = difflib.get_close_matches(name, settings, n=1)
                hint = f"; did you mean {_PREFIX}{nearest[0].upper()}?" if nearest else ""
                raise ValueError(f"{variable} is not a setting{hint}")
        return self

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, value: str) -> str:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})", value):
                raise ValueError(f"{value!r} is neither an address nor a host name") from None
        return value

    @field_validator("preload", mode="before")
    @classmethod
    def _preload_from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(_task_and_variant(item.strip()) for item in value.split(",") if item.strip())

    @field_validator("default_summarization", "default_translation")
    @classmethod
    def _default_is_a_name(cls, value: str | None) -> str | None:
        if value and not _VARIANT.fullmatch(value):
            raise ValueError(f"{value!r} is not a variant's name, such as quantized")
        return value or None

    def default_variant(self, task: Task) -> str | None:
        """Returns the variant that the operator chose as the task's default, if any."""
        return self.default_summarization if task is Task.SUMMARIZATION else self.default_translation

    @property
    def max_values(self) -> int:
        """The most values in a body: of as many texts, or evaluation pairs, as are allowed, with every other field."""
        pair = 5  # one bracket, two colons, one comma inside and one behind
        return max(self.max_texts, pair * self.evaluation_max_pairs) + 256

    @property
    def runtime_name(self) -> str | None:
        """The runtime that must be used, None where any may be."""
        return None if self.runtime == "auto" else self.runtime


def _task_and_variant(text: str) -> tuple[Task, str]:
    task, _, variant = text.partition("/")
    if task not in list(Task) or not _VARIANT.fullmatch(variant):
        raise ValueError(f"{text!r} is not of the form task/variant, such as translation/quantized")
    return Task(task), variant
