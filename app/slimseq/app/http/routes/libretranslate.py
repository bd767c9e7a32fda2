"""The paths of LibreTranslate's API beside `/translate`: `/languages`, `/detect`, `/frontend/settings`, `/health`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from slimseq.app.http.dependencies import ServicesDep
from slimseq.app.http.dialects.libretranslate import AUTO, detect
from slimseq.app.http.problems import documented
from slimseq.app.http.schemas.libretranslate import (
    DetectedLanguage,
    FrontendLanguage,
    FrontendLanguages,
    FrontendSettings,
    LibreTranslateError,
    LibreTranslateHealth,
    SupportedLanguage,
)
from slimseq.inference.text.language_codes import language_name

router = APIRouter(tags=["libretranslate"])

ERRORS: dict[int | str, dict[str, Any]] = {400: {"model": LibreTranslateError, "description": "Invalid request"}}
# LibreTranslate's own default.
TYPING_MS = 500


@router.get("/languages", operation_id="list_languages", summary="List languages", responses=documented(500))
async def list_languages(services: ServicesDep) -> list[SupportedLanguage]:
    """List the languages of the translation variants, and to which languages each can be translated."""
    pairs = services.languages.pairs()
    codes = dict.fromkeys(code for pair in pairs for code in pair)
    return [
        SupportedLanguage(
            code=code,
            name=language_name(code),
            targets=sorted(target for source, target in pairs if source == code),
        )
        for code in codes
    ]


@router.post(
    "/detect",
    operation_id="detect_language",
    summary="Detect the language of a text",
    response_model=list[DetectedLanguage],
    responses={**ERRORS, **documented(413, 415, 500)},
)
async def detect_language(request: Request) -> Response:
    """Detect the language of a text by its letter sequences. The confidence is in percent.

    Short texts say little. So the languages of the translation variants are preferred, unless the text is certainly in
    another one.
    """
    return await detect(request)


@router.get(
    "/frontend/settings",
    operation_id="frontend_settings",
    summary="Show settings for LibreTranslate's clients",
    responses=documented(500),
)
async def frontend_settings(services: ServicesDep) -> FrontendSettings:
    """Show what LibreTranslate's clients ask of a server: limits, and the languages to begin with."""
    source, target = next(iter(services.languages.pairs()), (AUTO, "en"))
    return FrontendSettings(
        charLimit=services.generation.max_text_characters,
        frontendTimeout=TYPING_MS,
        apiKeys=services.keys.has_keys,
        keyRequired=services.keys.has_keys,
        suggestions=False,
        filesTranslation=False,
        supportedFilesFormat=[],
        language=FrontendLanguages(
            source=FrontendLanguage(code=source, name=language_name(source)),
            target=FrontendLanguage(code=target, name=language_name(target)),
        ),
    )


@router.get("/health", operation_id="libretranslate_health", summary="Liveness probe of LibreTranslate's clients")
async def libretranslate_health() -> LibreTranslateHealth:
    """Answer 200 while the process runs, as `/healthz` does."""
    return LibreTranslateHealth()
