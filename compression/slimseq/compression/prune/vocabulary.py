"""Trims the vocabulary to the tokens that a corpus needs: tokenizer and token matrices shrink together.

Every text can still be encoded: words that the corpus does not have are spelled with smaller pieces.
`trimmed_tokenizer` chooses the tokens and writes the tokenizer's files.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from turbohtml.detect import LanguageDetection, detect_language

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import family_of_model
from slimseq.compression.prune.rebuild import rebuild
from slimseq.compression.prune.trimmed_tokenizer import chosen_tokens
from slimseq.inference.models.configuration import read_json
from slimseq.inference.text.language import detector_codes, find_language, known_codes, language_name
from slimseq.inference.tokenizer import TARGET_TOKENIZER, TOKENIZER, Tokenizer, read_fast
from slimseq.models_store.manifest import Manifest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from slimseq.compression.artifacts.parent import Parent
    from slimseq.evaluation.dataset_files import Example

# Texts that are encoded at once, in parallel.
TEXTS_AT_ONCE = 2048


def plan_vocabulary(
    model: "PreTrainedModel",
    tokenizer_folder: Path,
    texts: Iterable[str],
    limit: int,
    context: Context,
    targets: Iterable[str] = (),
    keeping: Iterable[str] = (),
) -> list[int]:
    """Returns the ids that stay, ascending. The special ids of the model always stay.

    Args:
        model: the model whose vocabulary is trimmed.
        tokenizer_folder: folder of its tokenizer.
        texts: sources with their prefixes. They are encoded without truncation.
        limit: maximum number of ids: the rarest are dropped first. 0 keeps exactly what the corpus needs.
        context: for the progress display.
        targets: texts that are encoded as training targets are.
        keeping: tokens that always stay.

    Raises:
        BadParameters: the tokenizer is of another kind, or `limit` has no room for what must stay.
    """
    if getattr(model.config, "source_vocab_size", None) is not None:
        raise BadParameters("--vocabulary needs one vocabulary; this model has one of sources and one of targets")
    tokenizer = read_json(tokenizer_folder / "tokenizer.json")
    has_target_tokenizer = (tokenizer_folder / TARGET_TOKENIZER).exists()
    counts = _counts(tokenizer_folder / TOKENIZER, texts, context)
    counts += _counts(tokenizer_folder / (TARGET_TOKENIZER if has_target_tokenizer else TOKENIZER), targets, context)
    vocabulary = Tokenizer(tokenizer_folder).vocabulary
    always = _special_ids(model) | {vocabulary[token] for token in keeping}
    kept = chosen_tokens(tokenizer, counts, always, limit, family_of_model(model))
    beyond = [token for token in kept if token >= model.config.vocab_size]
    if beyond:
        raise BadParameters(f"the tokenizer has token {beyond[0]} and the model only {model.config.vocab_size} of them")
    return kept


def plan_vocabulary_of(parent: "Parent", examples: Sequence["Example"], limit: int, context: Context) -> list[int]:
    """Returns the ids that training pairs of an artifact need. Tokens of its languages always stay.

    The rest is as for `plan_vocabulary`.
    """
    generation = parent.manifest.generation
    return plan_vocabulary(
        parent.model,
        parent.folder,
        ((generation.prefix if each.prefix is None else each.prefix) + each.source for each in examples),
        limit,
        context,
        targets=(each.target for each in examples),
        keeping=generation.language_tokens.values(),
    )


def keep_languages(manifest: Manifest, names: str) -> Manifest:
    """Returns a manifest whose artifact translates between some of its languages alone, given as `en,de,fr`.

    Raises:
        BadParameters: it has one pair alone, does not know one of them, or its own pair is not among them.
    """
    generation = manifest.generation
    tokens = generation.language_tokens
    if not tokens:
        pair = " to ".join(manifest.languages)
        raise BadParameters(f"--languages: {manifest.variant} has no others than {pair}; --vocabulary removes tokens")
    found = {name: find_language(name, tokens) for name in names.split(",")}
    if unknown := [name for name, code in found.items() if code is None]:
        raise BadParameters(f"--languages: {manifest.variant} has no {unknown[0]!r}; it has {', '.join(tokens)}")
    if missing := [code for code in manifest.languages if code in tokens and code not in found.values()]:
        raise BadParameters(f"--languages must have {missing[0]}, which {manifest.variant} translates by default")
    kept = {code: token for code, token in generation.language_tokens.items() if code in found.values()}
    return manifest.model_copy(update={"generation": generation.model_copy(update={"language_tokens": kept})})


def check_samples(manifest: Manifest, examples: "Iterable[Example]") -> None:
    """Raises BadParameters if no text is in one of the languages of an artifact, as far as the detector knows them."""
    languages = dict.fromkeys([*manifest.sources, *manifest.targets])
    detectable = {code: known_codes(code) for code in languages}
    missing = {code: codes for code, codes in detectable.items() if codes}
    options = LanguageDetection(allowed=detector_codes(missing))
    for text in (text for example in examples for text in (example.source, example.target)):
        if not missing:
            return
        found = detect_language(text, options).language
        missing = {code: codes for code, codes in missing.items() if found not in codes}
    if missing:
        names = " and none in ".join(map(language_name, missing))
        raise BadParameters(f"--languages: no text of the data is in {names}; add some with --data or --unlabelled")


def trim_model(model: "PreTrainedModel", kept: Sequence[int], takes_over: bool = False) -> "PreTrainedModel":
    """Returns a model whose token matrices have the rows of some ids alone, ascending: `kept[new] = old`.

    The output matrix and its bias lose the same rows, and the special ids of both configurations are renumbered. The
    output distribution is the old one, restricted to the ids that stay and normalized again. Rows without an id in the
    tokenizer are removed too. With `takes_over`, the new model may use the tensors of the given one.
    """
    family = family_of_model(model)
    rows = torch.tensor(kept)
    state: dict[str, torch.Tensor] = model.state_dict()
    # Tied matrices have several names in the state. Each is cut once, by its address, so that it stays tied.
    cut: dict[int, torch.Tensor] = {}
    for name, tensor in state.items():
        if name in family.token_matrices:
            if tensor.data_ptr() not in cut:
                cut[tensor.data_ptr()] = tensor[rows]
            state[name] = cut[tensor.data_ptr()]
        elif name == family.output_bias:
            state[name] = tensor[:, rows]
    new_ids = {old: new for new, old in enumerate(kept)}
    changes = {
        name: _renumbered(value, new_ids) for name, value in vars(model.config).items() if name.endswith("_token_id")
    }
    smaller = rebuild(model, changes | family.resized(tokens=len(kept)), state, takes_over)
    _renumber_generation(smaller, new_ids)
    return smaller


def _renumber_generation(model: "PreTrainedModel", new_ids: dict[int, int]) -> None:
    generation = model.generation_config
    if generation is None:
        return
    for name, value in vars(generation).items():
        if name.endswith("_token_id"):
            setattr(generation, name, _renumbered(value, new_ids))
    # A token that is gone cannot be generated, so its ban is removed.
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        banned = getattr(generation, name, None)
        if banned:
            setattr(generation, name, [new_ids[token] for token in banned if token in new_ids] or None)
    if generation.bad_words_ids:
        possible = [words for words in generation.bad_words_ids if all(token in new_ids for token in words)]
        generation.bad_words_ids = [[new_ids[token] for token in words] for words in possible] or None


def _renumbered(value: Any, new_ids: dict[int, int]) -> Any:
    if isinstance(value, list):
        return [new_ids[token] for token in value]
    return new_ids[value] if isinstance(value, int) else value


def _special_ids(model: "PreTrainedModel") -> set[int]:
    found: set[int] = set()
    for owner in (model.config, model.generation_config):
        if owner is None:
            continue
        for name, value in vars(owner).items():
            if name.endswith("_token_id") and value is not None:
                found |= set(value) if isinstance(value, list) else {value}
    return found


def _counts(tokenizer_file: Path, texts: Iterable[str], context: Context) -> Counter[int]:
    """Returns how often each id occurs in the texts, without the special tokens around them."""
    tokenizer = read_fast(tokenizer_file)
    counts, remaining = Counter[int](), iter(texts)
    with context.progress() as display:
        task = display.add_task("Counting tokens", total=None, status="")
        while batch := list(islice(remaining, TEXTS_AT_ONCE)):
            for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
                counts.update(encoding.ids)
            display.advance(task, len(batch))
    return counts
