"""The requests and responses of LibreTranslate's API (https://docs.libretranslate.com/api)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from slimseq.app.http.schemas.generation import JSON_KINDS, Language, check_unicode


def check_q(value: Any) -> Any:
    """Checks that a value is a string or a list of strings. Unlike our own `text`, they may be blank."""
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            kind = JSON_KINDS.get(type(text), "something else")
            raise PydanticCustomError(
                "slimseq_text", "must be a string or a list of strings, not {kind}", {"kind": kind}
            )
        if not text.isascii():
            check_unicode(text, "")
    return value


Q = Annotated[
    str | list[str],
    BeforeValidator(check_q),
    Field(description="A text or a list of texts.", examples=["The children are playing in the garden."]),
]
ApiKey = Annotated[str | None, Field(description="A key, if the service has keys and the header has none.")]
Ignored = Annotated[str | None, Field(description="Accepted and ignored.")]


class LibreTranslateRequest(BaseModel):
    """Texts to translate, as LibreTranslate's clients send them."""

    model_config = ConfigDict(extra="forbid")

    q: Q
    source: Language = Field(description="Language of the texts, or `auto` to detect it.", examples=["en"])
    target: Language = Field(description="Language of the translations.", examples=["de"])
    format: Literal["text", "html"] = Field(
        default="text", description="`html`: sentences are translated, and tags are kept around their words."
    )
    alternatives: int = Field(default=0, ge=0, description="Accepted. The answer's `alternatives` are always empty.")
    api_key: ApiKey = None
    secret: Ignored = None


class DetectedLanguage(BaseModel):
    """A detected language, with a confidence in percent."""

    confidence: float = Field(ge=0, le=100)
    language: str


class LibreTranslateResponse(BaseModel):
    """The translation of each text: a string for a string, a list for a list."""

    translatedText: str | list[str]  # noqa: N815
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = Field(  # noqa: N815
        default=None, description="Only with `source: auto`."
    )
    alternatives: list[str] | list[list[str]] | None = Field(default=None, description="Only if they are requested.")


class DetectRequest(BaseModel):
    """A text whose language is wanted."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(min_length=1, description="The text.", examples=["Die Kinder spielen im Garten."])
    api_key: ApiKey = None
    secret: Ignored = None


class SupportedLanguage(BaseModel):
    """A language, and the languages that it can be translated to."""

    code: str
    name: str
    targets: list[str]


class FrontendLanguage(BaseModel):
    """A language as LibreTranslate's page shows it."""

    code: str
    name: str


class FrontendLanguages(BaseModel):
    """The languages that LibreTranslate's page begins with."""

    source: FrontendLanguage
    target: FrontendLanguage


class FrontendSettings(BaseModel):
    """What LibreTranslate's clients ask of a server."""

    charLimit: int = Field(description="Maximum number of characters in a request.")  # noqa: N815
    frontendTimeout: int = Field(description="Milliseconds that a page waits while a person types.")  # noqa: N815
    apiKeys: bool  # noqa: N815
    keyRequired: bool  # noqa: N815
    suggestions: bool
    filesTranslation: bool  # noqa: N815
    supportedFilesFormat: list[str]  # noqa: N815
    language: FrontendLanguages


class LibreTranslateError(BaseModel):
    """An error in LibreTranslate's form."""

    error: str


class LibreTranslateHealth(BaseModel):
    """The answer of a server that runs."""

    status: Literal["ok"] = "ok"
