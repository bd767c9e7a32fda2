"""Training pairs: read from text files and turned into token ids.

Files are read by `slimseq.evaluation.datasets`, so training and evaluation accept the same files. A text is encoded
only when it is in a batch: a run that is bounded by time uses a small part of a large file.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.context import Context
from slimseq.compression.errors import BadData, BadParameters
from slimseq.compression.held_out import are_among, check_held_out, hashes_of
from slimseq.compression.options import COMMON, DATA, flat
from slimseq.compression.train.data.mixture import Mixture, mixed
from slimseq.evaluation.dataset_files import DatasetUnavailable, Example, read_sources
from slimseq.evaluation.datasets import load_examples
from slimseq.inference.models.configuration import read_json
from slimseq.inference.text.language import foreign_language, language_name
from slimseq.inference.text.sentences import sentences
from slimseq.inference.tokenizer import TARGET_TOKENIZER, Tokenizer
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Task

# Number of examples, from the start of the data, whose language is detected.
DETECTED_EXAMPLES = 50
# transformers' keys for the languages of an mBART's tokenizer, in `tokenizer_config.json`.
SOURCE_KEY, TARGET_KEY = "src_lang", "tgt_lang"
# Prefix of the origin of unlabelled examples, so that a mixture can give them a weight of their own.
ORIGIN = "unlabelled"
# Number of words of a sentence. Shorter texts are usually captions, longer ones lists or tables.
SENTENCE_WORDS = range(4, 61)
# A whole sentence: it begins with a capital letter or a digit and ends with a full stop, possibly in quotes.
SENTENCE = re.compile(r"[\"'\u201c\u2018(]?[A-Z0-9].*[.!?][\"'\u201d\u2019)]?")


@dataclass(frozen=True)
class TokenPair:
    """Ids of one source and one target, specials included, unpadded."""

    source: list[int]
    target: list[int]

    @property
    def longest(self) -> int:
        return max(len(self.source), len(self.target))


@dataclass(frozen=True)
class Limits:
    """Maximum lengths of texts in tokens, the closing special token included."""

    max_input_tokens: int
    max_target_tokens: int


def target_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer of an artifact's targets, given the tokenizer of its sources.

    Most families use one tokenizer for both. mBART, M2M100 and NLLB mark targets with another language token. Marian
    splits targets into other pieces.
    """
    folder = tokenizer.folder
    if (folder / TARGET_TOKENIZER).exists():
        return Tokenizer(folder, TARGET_TOKENIZER)
    config = read_json(folder / "tokenizer_config.json", {})
    source, target = config.get(SOURCE_KEY), config.get(TARGET_KEY)
    if not source or not target:
        return tokenizer
    return tokenizer.marked_with(target, instead_of=source)


class TrainingSet:
    """Pairs of texts, at least one, which are encoded on access.

    `prefix` is that of the artifact. An example with a prefix of its own gets that one instead. Targets keep the
    special tokens that the tokenizer adds (BART `<s> … </s>`, T5 `… </s>`).

    Raises:
        BadData: there are no examples.
    """

    def __init__(self, examples: Sequence[Example], tokenizer: Tokenizer, prefix: str, limits: Limits) -> None:
        if not examples:
            raise BadData("there are no examples to train on")
        self.examples = examples
        self._tokenizer = tokenizer
        self._targets = target_tokenizer(tokenizer)
        self._prefix = prefix
        self._limits = limits

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> TokenPair:
        example = self.examples[index]
        prefix = self._prefix if example.prefix is None else example.prefix
        source = self._tokenizer.encode(prefix + example.source, self._limits.max_input_tokens)
        target = self._targets.encode(example.target, self._limits.max_target_tokens)
        return TokenPair(source.ids, target.ids)

    def with_examples(self, examples: Sequence[Example]) -> "TrainingSet":
        """Returns a set of other texts with the same tokenizer, prefix and limits."""
        return TrainingSet(examples, self._tokenizer, self._prefix, self._limits)

    def first(self, count: int) -> "TrainingSet":
        """Returns a set of the first `count` pairs, or of all if there are fewer."""
        return self.with_examples(self.examples[:count])


def read_examples(task: Task, files: Sequence[str], samples: int | None = None, split: str = "train") -> list[Example]:
    """Reads the pairs of all files in their order. `samples` is how many are taken from the start of each file.

    Raises:
        BadData: no file is named, or one is missing, empty, misaligned or has a bad line; names file and line.
    """
    if not files:
        raise BadData("no training data: name at least one file with --data")
    try:
        return list(chain.from_iterable(load_examples(task, name, split, samples).examples for name in files))
    except DatasetUnavailable as error:
        raise BadData(str(error)) from error


def read_unlabelled(task: Task, files: Sequence[str]) -> list[Example]:
    """Reads sources as examples with empty targets. Equal sources are read once.

    The origin of an example is `unlabelled`, or `unlabelled-ORIGIN` if its row names an origin. A teacher generates the
    targets later, as in Kim & Rush 2016, https://arxiv.org/abs/1606.07947, and, for small translators, Kim et al. 2019,
    https://aclanthology.org/D19-5632/.
    """
    found: dict[str, Example] = {}
    for name in files:
        before = len(found)
        try:
            for text, origin in read_sources(Path(name)):
                for part in _parts(task, text):
                    found.setdefault(part, Example(part, "", origin=f"{ORIGIN}-{origin}" if origin else ORIGIN))
        except DatasetUnavailable as error:
            raise BadData(str(error)) from error
        if len(found) == before:
            raise BadData(f"{name} holds no new text that can be learned from")
    return list(found.values())


def _parts(task: Task, text: str) -> Iterator[str]:
    """Yields the sources in a text: its whole sentences for translation, else the text itself."""
    if task is not Task.TRANSLATION:
        yield text
        return
    for sentence in sentences(text):
        if len(sentence.split()) in SENTENCE_WORDS and SENTENCE.fullmatch(sentence):
            yield sentence


@flat(DATA)
@dataclass(frozen=True)
class DataFiles:
    """Files of one run."""

    train: Annotated[Sequence[str], Parameter(name="--data", group=COMMON)]
    """Training data: a .jsonl or .tsv file (also .gz), or two parallel texts as SOURCE:TARGET. Repeatable."""
    calibration: Sequence[str] = ()
    """Calibration data. Repeatable. By default the first rows of --data."""
    dev: Annotated[Sequence[str], Parameter(group=COMMON)] = ()
    """Held-out data: its loss is printed before and after. Repeatable."""
    mixture: Mixture = field(default_factory=Mixture)
    unlabelled: Sequence[str] = ()
    """Texts without targets, which a teacher generates (--sequence-level): a .jsonl file (also .gz), or a text file
    with one text a line. Repeatable. For translation, texts are split into sentences."""
    exclude: Sequence[str] = ()
    """Held-out data, such as dev and test files: its sources are left out of the training data. Repeatable."""

    @property
    def names(self) -> str:
        """The files' names on one line, without their folders."""
        names = [*self.train, *self.unlabelled, *self.calibration, *self.dev]
        return ", ".join(dict.fromkeys(":".join(Path(part).name for part in name.split(":")) for name in names))


@dataclass(frozen=True)
class Material:
    """The read and tokenized data of one run. `dev` is None where no file was named."""

    train: TrainingSet
    calibration: TrainingSet
    dev: TrainingSet | None


def read_material(
    context: Context,
    task: Task,
    files: DataFiles,
    tokenizer: Tokenizer,
    prefix: str,
    limits: Limits,
    calibration_samples: int = 1,
    is_read_whole: bool = True,
) -> Material:
    """Reads everything that a run needs, and checks that dev data is not among the training data.

    The context's seed decides which examples a fractional weight of the mixture takes. Without `is_read_whole`, only
    the rows for calibration are read.

    Raises:
        BadData: a file is missing, empty, misaligned or has a bad line, or dev data is in the training data.
        BadParameters: no pair is to be taken for calibration, or the mixture names an origin that does not occur.
    """
    if calibration_samples < 1:
        raise BadParameters(f"cannot calibrate on {calibration_samples} pairs; take at least 1")

    def as_set(examples: Sequence[Example]) -> TrainingSet:
        return TrainingSet(examples, tokenizer, prefix, limits)

    examples = read_examples(task, files.train, None if is_read_whole else calibration_samples)
    calibration = as_set(read_examples(task, files.calibration, calibration_samples) if files.calibration else examples)
    training = examples
    if is_read_whole:
        training = [*examples, *read_unlabelled(task, files.unlabelled)]
        training = _without_excluded(context, task, files.exclude, training)
        training = mixed(training, files.mixture, context.seed)
    train = as_set(training)
    dev = as_set(read_dev(context, task, files.dev, training)) if files.dev else None
    return Material(train, calibration.first(calibration_samples), dev)


def _without_excluded(context: Context, task: Task, held_out: Sequence[str], examples: list[Example]) -> list[Example]:
    """Returns the training examples whose source is in no held-out file, and says how many others there are."""
    if not held_out:
        return examples
    excluded = hashes_of(each.source for each in read_examples(task, held_out, split="test"))
    is_held_out = are_among((each.source for each in examples), excluded)
    kept = [example for example, is_left_out in zip(examples, is_held_out, strict=True) if not is_left_out]
    if not kept:
        raise BadData("--exclude leaves nothing to train on: the held-out data has every source of the training data")
    if len(kept) < len(examples):
        context.say(f"Left out {len(examples) - len(kept):,} of {len(examples):,} training pairs, which are held out")
    return kept


def read_dev(context: Context, task: Task, names: Sequence[str], training: Sequence[Example]) -> list[Example]:
    """Reads dev files, and checks that their pairs are not among the training pairs.

    Raises:
        BadData: too many of them are.
    """
    known = hashes_of(each.source for each in training)
    found: list[Example] = []
    for name in names:
        examples = read_examples(task, [name], split="validation")
        check_held_out(context, name, [each.source for each in examples], known)
        found += examples
    return found


def warn_of_languages(context: Context, material: Material, languages: Sequence[str]) -> None:
    """Warns of training data whose first texts are in other languages than those of the model."""
    for side, found, expected in foreign_sides(material.train.examples, languages):
        context.say(f"Warning: the {side}s of --data seem to be in {found}, not in {language_name(expected)}.")


def foreign_sides(examples: Sequence[Example], languages: Sequence[str]) -> list[tuple[str, str, str]]:
    """Returns the sides whose first texts are in another language than the model's.

    Args:
        examples: training pairs.
        languages: of the model: source and target, or the one language of summaries.

    Returns:
        For each such side its name, `source` or `target`, the language that was found, and the code of the expected
        one.
    """
    first = examples[:DETECTED_EXAMPLES]
    sides = []
    for side, language in zip(("source", "target"), (*languages[:1], *languages[-1:]), strict=False):
        found = foreign_language(" ".join(getattr(each, side) for each in first), language)
        if found:
            sides.append((side, found, language))
    return sides


def limits_of(generation: GenerationDefaults, max_positions: int | None) -> Limits:
    """Returns the maximum lengths of an artifact's texts: its generation defaults, and at most its positions."""
    defaults = (generation.max_input_tokens, generation.max_new_tokens)
    return Limits(*(min(tokens, max_positions or tokens) for tokens in defaults))
