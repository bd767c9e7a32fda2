"""The types of settings that have a form of their own, such as a URL or a list of networks, and their checks.

`slimseq.app.settings` has the settings of these types. A check raises a `ValueError`, which becomes the error of the
setting.
"""

import importlib.util
import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, WithJsonSchema
from pydantic_settings import NoDecode

from slimseq.inference.runtimes.registry import RUNTIMES
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import pip_install

# The forms of values, and how errors describe them. SQLite in memory would lose everything at the end of a connection.
_DATABASE = re.compile(
    r"sqlite:///(?!:memory:).+|postgresql://([^/?@]*@)?(\[[\da-fA-F:.]+\]|[^/?@:\[\]]*)(:\d+)?(/[^/]*)?"
)
_DATABASE_FORM = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ in a password as %40"
_REDIS = re.compile(r"rediss?://[^/?]+(/\d+)?")
_REDIS_FORM = "redis://:PASSWORD@HOST:PORT/NUMBER"
_VARIANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LANGUAGE = re.compile(r"[A-Za-z0-9_-]{2,35}")
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\]")
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:%-]{0,252}")
_ORIGIN = re.compile(r"https?://[^/\s]+|\*")
_RUNTIMES = ("auto", *RUNTIMES)


def listed(text: str) -> list[str]:
    """Returns the parts of a comma-separated setting."""
    return [part.strip() for part in text.split(",") if part.strip()]


def needs(module: str, what: str, extra: str) -> None:
    """Raises if a module is not installed: its error says what needs the module, and which extra has it."""
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"{what} needs {module}: {pip_install(extra)}")


def _known_runtime(name: str) -> str:
    if name not in _RUNTIMES:
        raise ValueError(f"there is no runtime {name!r}; there are {', '.join(_RUNTIMES)}")
    return name


def _networks(value: str) -> str:
    for network in listed(value):
        # Raises a `ValueError` if it is no network.
        ipaddress.ip_network(network, strict=False)
    return value


def _parts(pattern: re.Pattern[str], form: str) -> Callable[[str], str]:
    """Returns a check that each part of a comma-separated setting has a form. Errors name the form."""

    def check(value: str) -> str:
        for part in listed(value):
            if not pattern.fullmatch(part):
                raise ValueError(f"{part!r} is no {form}")
        return value

    return check


def _url(
    pattern: re.Pattern[str], form: str, *, scheme: str, module: str, what: str, extra: str
) -> Callable[[SecretStr | None], Any]:
    """Returns a check of URLs. Its errors do not show the URL, which may have a password.

    URLs that begin with `scheme` need a module, see `needs`.
    """

    def check(value: SecretStr | None) -> SecretStr | None:
        url = value.get_secret_value() if value else ""
        # A variable that is set to nothing counts as unset.
        if not url:
            return None
        if not pattern.fullmatch(url):
            raise ValueError(f"must be {form}")
        if url.startswith(scheme):
            needs(module, what, extra)
        return value

    return check


def _variant_name(value: str | None) -> str | None:
    if not value:
        return None
    if not _VARIANT.fullmatch(value):
        raise ValueError(f"{value!r} is not a variant's name, such as quantized")
    return value


def _language_pair(value: str | None) -> str | None:
    if not value:
        return None
    codes = listed(value)
    is_pair = len(codes) == 2 and all(_LANGUAGE.fullmatch(code) for code in codes)
    if not is_pair:
        raise ValueError(f"{value!r} is not of the form SOURCE,TARGET, such as en,pt")
    return value


def _task_and_variant(text: str) -> tuple[Task, str]:
    task, _, variant = text.partition("/")
    if task not in list(Task) or not _VARIANT.fullmatch(variant):
        raise ValueError(f"{text!r} is not of the form task/variant, such as translation/quantized")
    return Task(task), variant


def _preloaded(value: Any) -> Any:
    # A variable has text, and other code may pass pairs.
    if isinstance(value, str):
        return tuple(_task_and_variant(part) for part in listed(value))
    return value


RuntimeChoice = Annotated[str, AfterValidator(_known_runtime), WithJsonSchema({"type": "string", "enum": _RUNTIMES})]
Host = Annotated[str, AfterValidator(_parts(_ADDRESS, "address or host name"))]
Networks = Annotated[str, AfterValidator(_networks)]
HostNames = Annotated[str, AfterValidator(_parts(_HOST_NAME, "host name such as example.com or *.example.com"))]
Origins = Annotated[str, AfterValidator(_parts(_ORIGIN, "origin such as https://example.com"))]
RedisUrl = Annotated[
    SecretStr | None,
    AfterValidator(_url(_REDIS, _REDIS_FORM, scheme="redis", module="redis", what="Redis", extra="redis")),
]
DatabaseUrl = Annotated[
    SecretStr | None,
    AfterValidator(
        _url(_DATABASE, _DATABASE_FORM, scheme="postgresql", module="psycopg", what="PostgreSQL", extra="postgres")
    ),
]
DefaultVariant = Annotated[str | None, AfterValidator(_variant_name)]
DefaultPair = Annotated[str | None, AfterValidator(_language_pair)]
Preloaded = Annotated[tuple[tuple[Task, str], ...], NoDecode, BeforeValidator(_preloaded)]
