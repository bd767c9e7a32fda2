"""Determines the languages of an imported model, with the tokens or the prefix that select them.

An mBART has a token for each language, a Marian has one pair or a token for each target. `--language` is checked
against them. Files of other families do not name languages: the languages that the user names are recorded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimseq.compression.errors import BadParameters
from slimseq.compression.importing.language_tokens import LanguageTokens, language_codes, read_language_tokens
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.inference.models.family import ModelFamily
from slimseq.models_store.manifest import Task

# Recorded if neither the command nor the model names languages.
ASSUMED = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}
# `mul` is any language; names with capitals, such as ROMANCE, are language groups of OPUS-MT.
GROUP = re.compile(r"mul|.*[A-Z+_].*")


@dataclass(frozen=True)
class Languages:
    """The languages of an imported model: their codes, and an mBART's tokens.

    `prefix` is the text before every input that selects the target language of a Marian with several, `remark` a line
    for the user if the model's files do not confirm the languages.
    """

    codes: list[str]
    tokens: LanguageTokens | None = None
    prefix: str | None = None
    remark: str = ""


def resolve_languages(
    task: Task, folder: Path, tokenizer_folder: Path, source: str, named: Sequence[str] | None
) -> Languages:
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
    if family.language_token and (codes := language_codes(tokenizer_folder, family.language_token)):
        return _from_language_tokens(task, folder, tokenizer_folder, codes, named)
    if family.target_token and task is Task.TRANSLATION:
        return _from_target_tokens(family, folder, tokenizer_folder, source, named)
    return _stated(family, task, folder, named)


def _from_language_tokens(
    task: Task, folder: Path, tokenizer_folder: Path, codes: Mapping[str, str], named: Sequence[str] | None
) -> Languages:
    own = read_language_tokens(folder, tokenizer_folder)
    if named:
        found = [_find_code(name, codes) for name in named]
        tokens = LanguageTokens(found[0], found[-1])
    elif own.source and own.target:
        tokens = own
    elif task is Task.SUMMARIZATION and own.source:
        tokens = LanguageTokens(own.source, own.source)
    else:
        raise BadParameters(
            f"nothing in the model says which language it translates into: give --language SOURCE --language TARGET, "
            f"two of {', '.join(_short_names(codes))}"
        )
    short = dict(zip(codes, _short_names(codes), strict=True))
    pair = [short[tokens.source], short[tokens.target]]
    return Languages(pair if task is Task.TRANSLATION else list(dict.fromkeys(pair)), tokens)


def _short_names(codes: Mapping[str, str]) -> list[str]:
    """Returns `fr` for `fr_XX`; the whole code if several languages have the same name."""
    names = list(codes.values())
    return [name if names.count(name) == 1 else code for code, name in codes.items()]


def _find_code(name: str, codes: Mapping[str, str]) -> str:
    plain = name.replace("-", "_").casefold()
    found = [code for code in codes if plain == code.casefold()]
    found = found or [code for code, short in codes.items() if plain == short.casefold()]
    if len(found) > 1:
        raise BadParameters(f"--language {name} is ambiguous: the tokenizer has {', '.join(found)}; name one of them")
    if not found:
        known = ", ".join(_short_names(codes))
        raise BadParameters(f"--language {name} is not a language of the tokenizer, which has {known}")
    return found[0]


def _from_target_tokens(
    family: ModelFamily, folder: Path, tokenizer_folder: Path, source: str, named: Sequence[str] | None
) -> Languages:
    own = _read_pair(family, folder, source)
    targets = _targets(family, tokenizer_folder)
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
        return Languages([first, second], prefix=f">>{second}<< ")
    if own is not None and not _agree(second, own[1]):
        raise BadParameters(f"--language {second}: this {family.title} translates into {own[1]} ({own[0]} to {own[1]})")
    remark = "" if own else f"Languages {first} to {second} are recorded as stated: nothing in the model confirms them."
    return Languages([first, second], remark=remark)


def _read_pair(family: ModelFamily, folder: Path, source: str) -> tuple[str, str] | None:
    """Returns the pair of the tokenizer's or the model's configuration, else of the name on the hub, else None."""
    for name in ("tokenizer_config.json", "config.json"):
        path = folder / name
        said = read_json(path) if path.exists() else {}
        if said.get("source_lang") and said.get("target_lang"):
            return str(said["source_lang"]), str(said["target_lang"])
    match = family.pair_in_name.search(source) if family.pair_in_name else None
    return (match[1], match[2]) if match else None


def _targets(family: ModelFamily, tokenizer_folder: Path) -> list[str]:
    """Returns the names in tokens such as `>>fra<<`."""
    added = read_json(tokenizer_folder / "tokenizer.json").get("added_tokens") or []
    found = (family.target_token.fullmatch(token["content"]) for token in added) if family.target_token else ()
    return [match[1] for match in found if match]


def _agree(name: str, own: str) -> bool:
    return name.casefold() == own.casefold() or GROUP.fullmatch(own) is not None


def _stated(family: ModelFamily, task: Task, folder: Path, named: Sequence[str] | None) -> Languages:
    codes = list(named or ASSUMED[task])
    words = " to ".join(codes)
    how = "recorded as stated" if named else "assumed; --language names others"
    why = f"nothing in a {family.model_type} confirms them"
    if family.learns_languages_from_prefix and task is Task.TRANSLATION:
        why = f"a {family.model_type} learns them from the prefix of its inputs alone"
        known = _t5_pairs(read_json(folder / "config.json"))
        if known and tuple(codes) not in known:
            why += f", and its configuration has prefixes for {', '.join(' to '.join(pair) for pair in known)} only"
    return Languages(codes, remark=f"Languages {words} are {how}: {why}.")


def _t5_pairs(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the pairs that a T5's configuration has a prefix for."""
    names = [name.split("_") for name in config.get("task_specific_params") or {} if name.startswith("translation_")]
    return [(parts[1], parts[3]) for parts in names if len(parts) == 4]
