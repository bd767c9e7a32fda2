"""The settings of the service, read once from `SLIMSEQ_*` environment variables.

Invalid values are rejected at the start, with the name of the setting. `slimseq.app.setting_types` has the forms of
values, such as URLs, and their checks.
"""

import difflib
import ipaddress
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import DirectoryPath, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from slimseq.app.setting_types import (
    DatabaseUrl,
    DefaultPair,
    DefaultVariant,
    Host,
    HostNames,
    Networks,
    Origins,
    Preloaded,
    RedisUrl,
    RuntimeChoice,
    listed,
    needs,
)
from slimseq.inference.text.glossary import MAX_TERMS
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import default_store

_PREFIX = "SLIMSEQ_"
# Variables that are no settings of the service: `slimseq sign` reads `SLIMSEQ_KEY_PASSWORD`, and `slimseq import` reads
# `SLIMSEQ_FIREFOX_URL`.
_VARIABLES_OF_COMMANDS = ("key_password", "firefox_url")


class Settings(BaseSettings):
    """The settings. The defaults suit a laptop."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    store: Path = Field(
        default_factory=default_store,
        description="Folder of the artifacts, with one folder `<task>/<variant>/` each. Default: ./artifacts if it has "
        "artifacts, else the embedded models.",
    )
    trusted_keys: str | None = Field(
        default=None,
        description="Public keys of those who may sign artifacts: PEM files, or folders of them, comma-separated. With "
        "them, only artifacts that `slimseq sign` signed with one of the keys are served. Needs the extra `signing`.",
    )
    host: Host = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on. 0 means any free port.")
    runtime: RuntimeChoice = Field(
        default="auto",
        description="Runtime of all variants. `auto` selects the fastest one measured on this type of CPU.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=512,
        description="Number of concurrent generations of a variant. 0 means the fastest number that `benchmark --tune` "
        "measured, else one for each core, at most 4.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=512,
        description="Number of threads of one generation. 0 divides the cores among the generations.",
    )
    default_summarization: DefaultVariant = Field(
        default=None,
        description="Default variant for summarization. If unset: quantized, original or any that can be loaded.",
    )
    default_translation: DefaultVariant = Field(
        default=None,
        description="Default variant of the languages that it translates. If unset: quantized, original or any that "
        "can be loaded, for each pair of languages.",
    )
    default_pair: DefaultPair = Field(
        default=None,
        description="Source and target of translations that name no variant and no language, such as `en,pt`. If "
        "unset: those of `default_translation`; else of the first imported or trained model; else English to "
        "Portuguese, of the embedded models.",
    )
    preload: Preloaded = Field(
        default=(),
        description="Variants to load at the start: `task/variant`, comma-separated. Default: the default variants.",
    )
    max_resident_bytes: int = Field(
        default=0,
        ge=0,
        description="Memory budget for loaded variants, in bytes. The least recently used are unloaded first. 0 means "
        "no limit.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of keys, which `slimseq keys` writes. With it, requests need a key. It is read again when it "
        "changes.",
    )
    glossaries: DirectoryPath | None = Field(
        default=None,
        description="Folder of glossaries that translations may name: `NAME.csv` and `NAME.tbx`. They are read again "
        "when they change.",
    )
    allow_no_keys: bool = Field(
        default=False, description="Allow to listen on other addresses than this machine's own without keys."
    )
    limits_url: RedisUrl = Field(
        default=None,
        description="Redis that counts the use of keys, for several processes together: `redis://...` with the extra "
        "`redis`. Default: each process counts for itself.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        description="Bearer token of operators, to load and unload variants and to start, stop, promote and delete "
        "experiments; with keys, a key with all scopes. If unset, and without keys, nobody can load and unload, and "
        "anybody can start experiments.",
    )
    trusted_hosts: HostNames = Field(
        default="",
        description="Host names by which requests may come, comma-separated; `*.example.com` for all below. Default: "
        "any.",
    )
    trusted_proxies: Networks = Field(
        default="",
        description="Addresses or networks of proxies whose `X-Forwarded-For` is believed, comma-separated. Default: "
        "none.",
    )
    cors_origins: Origins = Field(
        default="",
        description="Origins of pages of other sites that may use the API, such as `https://example.com`, "
        "comma-separated. Default: none.",
    )
    max_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, le=1024**3, description="Maximum size of a request body, in bytes."
    )
    max_texts: int = Field(default=64, ge=1, le=4096, description="Maximum number of texts in a request.")
    max_text_characters: int = Field(
        default=1_000_000, ge=1, description="Maximum number of characters in a request's texts, times outputs of each."
    )
    max_batch_tokens: int = Field(
        default=16384,
        ge=64,
        description="Maximum number of expected input and output tokens in progress, with continuous batching.",
    )
    queue_rows: int = Field(
        default=4096,
        ge=1,
        description="Maximum number of rows in the queue of a variant, and of sentences in a request.",
    )
    request_timeout_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="Deadline of a request, in seconds. After it, the request is answered with 504.",
    )
    max_connections: int = Field(
        default=512,
        ge=1,
        le=65_536,
        description="Maximum number of connections. At the limit, a new connection replaces another one: of the "
        "address with the most connections, the one that has been idle the longest. The limit is lower where the "
        "process may not open so many files.",
    )
    header_timeout_seconds: float = Field(
        default=10, gt=0, le=600, description="Seconds for a client to send the request line and all headers."
    )
    drain_seconds: float = Field(
        default=0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="Seconds after SIGTERM or SIGINT in which `GET /readyz` answers 503 and everything is still "
        "served, so that load balancers send no more requests. The grace period follows.",
    )
    shutdown_grace_seconds: int = Field(
        default=10,
        ge=0,
        le=600,
        description="Seconds for running requests to finish after SIGTERM or SIGINT. The process ends a second later.",
    )
    shadow_share: float = Field(
        default=0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of live requests that the reference, or the variant of the next settings, answers again at "
        "low priority, to measure agreement. Texts are not kept. 0 means none.",
    )
    shadow_summarization: DefaultVariant = Field(
        default=None,
        description="Variant that answers requests for summaries again in place of the reference, such as a new one.",
    )
    shadow_translation: DefaultVariant = Field(
        default=None, description="Variant that answers translations again in place of the reference."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Minimum log level.")
    evaluation_max_pairs: int = Field(
        default=1000, ge=1, le=100_000, description="Maximum number of pairs or samples in an evaluation."
    )
    evaluation_kept: int = Field(
        default=50, ge=1, le=10_000, description="Number of finished evaluations to keep, with their texts."
    )
    feedback_days: float = Field(
        default=30,
        gt=0,
        le=36_500,
        allow_inf_nan=False,
        description="Days for which a response or a comparison can be judged. Judgements outside of experiments are "
        "deleted after this time.",
    )
    database_url: DatabaseUrl = Field(
        default=None,
        description="Database of evaluations and feedback: `sqlite:///FILE`, or `postgresql://...` with the "
        "extra `postgres`. Default: a file of SQLite below `$XDG_STATE_HOME/slimseq` or `~/.local/state/slimseq`, one "
        "for each store.",
    )

    @model_validator(mode="after")
    def _environment_has_no_unknown_settings(self) -> Self:
        settings = list(type(self).model_fields)
        for variable in sorted(os.environ):
            if not variable.upper().startswith(_PREFIX):
                continue
            name = variable.lower().removeprefix(_PREFIX.lower())
            if name in settings or name in _VARIABLES_OF_COMMANDS:
                continue
            nearest = difflib.get_close_matches(name, settings, n=1)
            hint = f"; did you mean {_PREFIX}{nearest[0].upper()}?" if nearest else ""
            raise ValueError(f"{variable} is not a setting{hint}")
        return self

    @model_validator(mode="after")
    def _other_machines_need_keys(self) -> Self:
        may_have_no_keys = self.allow_no_keys or _is_loopback(self.host)
        if self.keys_file is None and not may_have_no_keys:
            raise ValueError(
                f"host {self.host} lets other machines in, and there are no keys: set SLIMSEQ_KEYS_FILE (`slimseq keys "
                "add` makes it), or SLIMSEQ_ALLOW_NO_KEYS=true to let everybody in"
            )
        return self

    @field_validator("keys_file", "trusted_keys", mode="before")
    @classmethod
    def _is_not_empty(cls, value: Any) -> Any:
        # An empty variable, such as one that was not filled in, must not open the service.
        if isinstance(value, str) and not listed(value):
            raise ValueError("is empty: name a file, or unset it")
        return value

    @field_validator("trusted_keys")
    @classmethod
    def _signatures_can_be_checked(cls, value: str | None) -> str | None:
        if value is not None:
            needs("cryptography", "SLIMSEQ_TRUSTED_KEYS", extra="signing")
        return value

    def default_variant(self, task: Task) -> str | None:
        return self.default_summarization if task is Task.SUMMARIZATION else self.default_translation

    @property
    def default_languages(self) -> tuple[str, ...] | None:
        """Source and target of translations that name no language, None if unset."""
        return tuple(listed(self.default_pair)) if self.default_pair else None

    def shadow_variant(self, task: Task) -> str | None:
        return self.shadow_summarization if task is Task.SUMMARIZATION else self.shadow_translation

    @property
    def max_values(self) -> int:
        """Maximum number of commas, colons and opening brackets in a body: those of the largest allowed request."""
        # A pair of an evaluation is `{"source": "...", "target": "..."},`: a bracket, two colons and two commas. A term
        # of a glossary has fewer than three. A text has a comma.
        signs_of_pairs = 5 * self.evaluation_max_pairs
        signs_of_terms = 3 * MAX_TERMS
        # For the other fields of a request.
        other_signs = 256
        return max(self.max_texts, signs_of_pairs, signs_of_terms) + other_signs


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
