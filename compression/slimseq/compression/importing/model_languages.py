"""Determines the languages of an imported model, with the tokens or the prefix that select them.

mBART, M2M100 and NLLB have a token for each language. Marian has one pair, or a token for each target. `--language` is
checked against these. The files of other families do not name languages, so the languages that the user names are
recorded. `language_tokens` reads and writes the tokens.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from babel.core import get_global

from slimseq.compression.errors import BadParameters
from slimseq.compression.importing.language_tokens import LanguageTokens, language_codes, read_language_tokens
from slimseq.inference.models.configuration import family_of, read_config, read_json
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.text.language import short_code
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task

# Languages that are recorded if neither the command nor the model names any.
ASSUMED = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}
# `mul` is any language; names with capitals, such as ROMANCE, are language groups of OPUS-MT.
# A code of ISO 639, with a script or a region or without: `en`, `deu_Latn`, `pt-BR`.
CODE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
GROUP = re.compile(r"mul|.*[A-Z+_].*")
# The name of a script in ISO 15924, such as `Hans` or `Latn`.
SCRIPT = re.compile(r"[A-Z][a-z]{3}")


@dataclass(frozen=True)
class ModelLanguages:
    """The languages of an imported model."""

    codes: list[str]
    """Source and target, or the one language of summaries."""
    tokens: LanguageTokens | None = None
    """Language tokens of an mBART, M2M100 or NLLB."""
    prefix: str | None = None
    """Text before every input that selects the target language of a Marian with several targets."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Token of each language that a request may choose, by code."""
    remark: str = ""
    """Line for the user if the model's files do not confirm the languages."""


def resolve_languages(
    task: Task, folder: Path, tokenizer_folder: Path, source: str, named: Sequence[str] | None
) -> ModelLanguages:
    """Determines the languages of an imported model.

    Raises:
        BadParameters: the number of names is wrong, a name is unknown or ambiguous, or the model has several pairs and
            none is named.
    """
    wanted = 2 if task is Task.TRANSLATION else 1
    if named and len(named) != wanted:
        need = "twice, source and target" if task is Task.TRANSLATION else "once"
        given = "once" if len(named) == 1 else f"{len(named)} times"
        raise BadParameters(f"--language is given {given}; a {task} needs it {need}")
    family = family_of(folder)
    codes = language_codes(tokenizer_folder, family.language_token) if family.language_token else {}
    if codes:
        return _from_language_tokens(task, folder, tokenizer_folder, codes, named)
    targets = _targets(family, tokenizer_folder)
    if task is Task.TRANSLATION and (targets or family.pair_in_name):
        return _from_target_tokens(family, folder, targets, source, named)
    return _stated(family, task, folder, named)


def _from_language_tokens(
    task: Task, folder: Path, tokenizer_folder: Path, codes: Mapping[str, str], named: Sequence[str] | None
) -> ModelLanguages:
    own = read_language_tokens(folder, tokenizer_folder)
    short = _short_names(codes)
    if named:
        found = [_find_code(name, codes, short) for name in named]
        tokens = LanguageTokens(found[0], found[-1])
    elif own.source and own.target:
        tokens = own
    elif task is Task.SUMMARIZATION and own.source:
        tokens = LanguageTokens(own.source, own.source)
    else:
        raise BadParameters(
            f"nothing in the model says which language it translates into: give --language SOURCE --language TARGET, "
            f"two of {', '.join(short.values())}"
        )
    pair = [short[tokens.source], short[tokens.target]]
    choices = {name: code for code, name in short.items()} if task is Task.TRANSLATION else {}
    return ModelLanguages(pair if task is Task.TRANSLATION else list(dict.fromkeys(pair)), tokens, choices=choices)


def _short_names(codes: Mapping[str, str]) -> dict[str, str]:
    """Returns the shortest code of each language by its token: `fr` for `fr_XX` and `fra_Latn`.

    If several tokens share a short code, the one in the usual script of the language has it (`zh` is `zho_Hans`). The
    others get their script behind it (`zh_Hant`), or keep the name of their token.
    """
    names: dict[str, str] = {}
    for short in dict.fromkeys(map(short_code, codes.values())):
        # Unicode's likely subtags say `zh_Hans_CN` for `zh`. The script is a list of one, or empty if it is unknown.
        usual_script = get_global("likely_subtags").get(short, "").split("_")[1:2]
        scripts = {token: token.partition("_")[2] for token, name in codes.items() if short_code(name) == short}
        candidates = [token for token, script in scripts.items() if script in usual_script or len(scripts) == 1]
        candidates.sort(key=lambda token: codes[token] != short)
        for token, script in scripts.items():
            if token in candidates[:1]:
                names[token] = short
            elif SCRIPT.fullmatch(script) and script not in usual_script:
                names[token] = f"{short}_{script}"
            else:
                names[token] = token
    return {token: names[token] for token in codes}


def _find_code(name: str, codes: Mapping[str, str], short: Mapping[str, str]) -> str:
    """Returns the language token that a name of `--language` means: a token, its short code, or the code in it."""
    plain = name.replace("-", "_").casefold()
    found = [code for code in codes if plain in (code.casefold(), short[code].casefold())]
    found = found or [code for code, own in codes.items() if plain == own.casefold()]
    if len(found) > 1:
        raise BadParameters(f"--language {name} is ambiguous: the tokenizer has {', '.join(found)}; name one of them")
    if not found:
        known = ", ".join(short.values())
        raise BadParameters(f"--language {name} is not a language of the tokenizer, which has {known}")
    return found[0]


def _from_target_tokens(
    family: ModelFamily, folder: Path, targets: Mapping[str, str], source: str, named: Sequence[str] | None
) -> ModelLanguages:
    own = _read_pair(family, folder, source)
    if not named and own is None:
        choice = f"; its targets are {', '.join(targets)}" if targets else ""
        raise BadParameters(
            f"nothing in {source} says which languages this {family.title} translates: give --language SOURCE "
            f"--language TARGET{choice}"
        )
    first, second = named or own or ("", "")
    if own is not None and not _agree(first, own[0]):
        raise BadParameters(f"--language {first}: this {family.title} translates from {own[0]} ({own[0]} to {own[1]})")
    if targets:
        if second not in targets:
            said = f"--language {second}" if named else f"its own target {second}"
            raise BadParameters(
                f"{said} is not one of this {family.title}'s targets: give --language {first} and --language with one "
                f"of {', '.join(targets)}"
            )
        return ModelLanguages([first, second], prefix=f"{targets[second]} ", choices=targets)
    if own is not None and not _agree(second, own[1]):
        raise BadParameters(f"--language {second}: this {family.title} translates into {own[1]} ({own[0]} to {own[1]})")
    remark = "" if own else f"Languages {first} to {second} are recorded as stated: nothing in the model confirms them."
    return ModelLanguages([first, second], remark=remark)


def _read_pair(family: ModelFamily, folder: Path, source: str) -> tuple[str, str] | None:
    """Returns the pair of the tokenizer's or the model's configuration, else of the name on the hub, else None."""
    for name in ("tokenizer_config.json", "config.json"):
        said = read_json(folder / name, {})
        if said.get("source_lang") and said.get("target_lang"):
            return str(said["source_lang"]), str(said["target_lang"])
    match = family.pair_in_name.search(source) if family.pair_in_name else None
    return (match[1], match[2]) if match else None


def _targets(family: ModelFamily, tokenizer_folder: Path) -> dict[str, str]:
    """Returns tokens such as `>>fra<<` by the name in them, in the order of ids."""
    if family.target_token is None:
        return {}
    vocabulary = Tokenizer(tokenizer_folder).vocabulary
    found = map(family.target_token.fullmatch, sorted(vocabulary, key=vocabulary.__getitem__))
    return {match[1]: match[0] for match in found if match}


def _agree(name: str, own: str) -> bool:
    """Whether a named language may be the model's own, which may be a group of languages."""
    return name.casefold() == own.casefold() or GROUP.fullmatch(own) is not None


def _stated(family: ModelFamily, task: Task, folder: Path, named: Sequence[str] | None) -> ModelLanguages:
    """Returns the named or assumed languages, with a remark that the model's files do not confirm them."""
    codes = list(named or ASSUMED[task])
    for code in codes:
        if not CODE.fullmatch(code):
            raise BadParameters(f"--language {code} is not a language code, such as en, deu or pt-BR")
    words = " to ".join(codes)
    how = "recorded as stated" if named else "assumed; --language names others"
    why = f"nothing in a {family.model_type} confirms them"
    if family.learns_languages_from_prefix and task is Task.TRANSLATION:
        why = f"a {family.model_type} learns them from the prefix of its inputs alone"
        known = _t5_pairs(read_config(folder))
        if known and tuple(codes) not in known:
            why += f", and its configuration has prefixes for {', '.join(' to '.join(pair) for pair in known)} only"
    return ModelLanguages(codes, remark=f"Languages {words} are {how}: {why}.")


def _t5_pairs(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the pairs that a T5's configuration has a prefix for."""
    names = [name.split("_") for name in config.get("task_specific_params") or {} if name.startswith("translation_")]
    return [(parts[1], parts[3]) for parts in names if len(parts) == 4]
