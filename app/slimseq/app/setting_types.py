"""The types of settings that are more than a number or a text. Their errors say what form a value must have."""

import importlib.util
import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, WithJsonSchema
from pydantic_settings import NoDecode

from slimseq.inference.runtimes.registry import RUNTIMES
from slimseq.models_store.manifest import Task

_DATABASE = re.compile(r"sqlite:///(?!:memory:).+|postgresql://[^/?]*(?<!:)(/[^/]*)?")
_REDIS = re.compile(r"rediss?://[^/?]+(/\d+)?")
_VARIANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\]")
_ORIGIN = re.compile(r"https?://[^/\s]+|\*")
_RUNTIMES = ("auto", *RUNTIMES)


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def needs(module: str, what: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"{what} needs {module}: pip install 'slimseq[{extra}]'")


def _known_runtime(name: str) -> str:
    if name not in _RUNTIMES:
        raise ValueError(f"there is no runtime {name!r}; there are {', '.join(_RUNTIMES)}")
    return name


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})", value):
            raise ValueError(f"{value!r} is neither an address nor a host name") from None
    return value


def _networks(value: str) -> str:
    for network in listed(value):
        ipaddress.ip_network(network, strict=False)
    return value


def _each(pattern: re.Pattern[str], form: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        for part in listed(value):
            if not pattern.fullmatch(part):
                raise ValueError(f"{part!r} is no {form}")
        return value

    return check


def _url(value: SecretStr | None, pattern: re.Pattern[str], form: str) -> str:
    """Returns the URL of a setting, empty if it is not set. The error does not show it: it may have a password."""
    url = value.get_secret_value() if value else ""
    if url and not pattern.fullmatch(url):
        raise ValueError(f"must be {form}")
    return url


def _redis(value: SecretStr | None) -> SecretStr | None:
    url = _url(value, _REDIS, "redis://:PASSWORD@HOST:PORT/NUMBER")
    if url:
        needs("redis", "Redis", extra="redis")
    return value if url else None


def _database(value: SecretStr | None) -> SecretStr | None:
    url = _url(value, _DATABASE, "sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    if url.startswith("postgresql"):
        needs("psycopg", "PostgreSQL", extra="postgres")
    return value if url else None


def _variant(value: str | None) -> str | None:
    if value and not _VARIANT.fullmatch(value):
        raise ValueError(f"{value!r} is not a variant's name, such as quantized")
    return value or None


def _task_and_variant(text: str) -> tuple[Task, str]:
    task, _, variant = text.partition("/")
    if task not in list(Task) or not _VARIANT.fullmatch(variant):
        raise ValueError(f"{text!r} is not of the form task/variant, such as translation/quantized")
    return Task(task), variant


def _preloaded(value: Any) -> Any:
    return tuple(map(_task_and_variant, listed(value))) if isinstance(value, str) else value


RuntimeChoice = Annotated[str, AfterValidator(_known_runtime), WithJsonSchema({"type": "string", "enum": _RUNTIMES})]
Host = Annotated[str, AfterValidator(_host)]
Networks = Annotated[str, AfterValidator(_networks)]
HostNames = Annotated[str, AfterValidator(_each(_HOST_NAME, "host name such as example.com or *.example.com"))]
Origins = Annotated[str, AfterValidator(_each(_ORIGIN, "origin such as https://example.com"))]
RedisUrl = Annotated[SecretStr | None, AfterValidator(_redis)]
DatabaseUrl = Annotated[SecretStr | None, AfterValidator(_database)]
DefaultVariant = Annotated[str | None, AfterValidator(_variant)]
Preloaded = Annotated[tuple[tuple[Task, str], ...], NoDecode, BeforeValidator(_preloaded)]
