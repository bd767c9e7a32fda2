"""Makes the `tokenizer.json` of an imported model and tries it on samples, in a process with limits.

The files may come from a stranger. Tokenizers run in Rust code and in transformers' converters. Neither limits its time
or memory, and a panic of the Rust code is no `Exception` in Python. Therefore a child process converts and tries the
tokenizer, with limits of time and memory. Whatever ends the child becomes one error line.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slimseq.compression.artifacts.publish import copy_tokenizer
from slimseq.compression.importing.sentencepiece_tokenizers import (
    is_m2m100_tokenizer,
    is_marian_tokenizer,
    restore_normalizer,
    write_fast_m2m100_tokenizer,
    write_fast_marian_tokenizer,
)
from slimseq.inference.models.configuration import read_json
from slimseq.inference.tokenizer import TARGET_TOKENIZER, TOKENIZER, Tokenizer
from slimseq.inference.tokenizer_file import replace_slow_patterns
from slimseq.models_store.errors import BadSource, SlimseqError, first_line, printable
from slimseq.models_store.files import write_json
from slimseq.models_store.model_folder import copy_from_folder

# Limit for all samples. With the largest vocabularies they take 2 s; the rest is for a busy machine.
TRIAL_SECONDS = 120
# Further time for a conversion. To import transformers and convert 250,000 pieces takes a minute on a slow machine.
CONVERSION_SECONDS = 900
# Limit of processor time for one sample, which takes 0.1 s at most. Processor time does not depend on other processes.
SAMPLE_SECONDS = 5
# Lengths of the samples that repeat one letter, and of those that repeat two.
SAMPLE_CHARACTERS, PAIR_CHARACTERS = 20_000, 1_000
# A byte-level tokenizer makes four tokens of an emoji.
MAX_TOKENS_A_CHARACTER = 16
# Limit of the child's data. Conversions of 250,000 pieces take 2 GiB.
MAX_MEMORY_BYTES = 8 * 2**30
# The exit code of the child for an error that it wrote.
FAILED = 3
# Suffixes of the files that transformers' converters read.
CONVERTED_SUFFIXES = (".json", ".model", ".spm", ".txt")
SENTENCES = (
    "The library opens at ten o'clock, and tickets cost $12.50 (children: free).",
    "Anna Müller und Łukasz Żak trafen Søren in Århus; „schön“, sagte er — “nice”.",
    "\u041c\u0443\u0437\u0435\u0439 \u0437\u0430\u043a\u0440\u044b\u0442. 会議は十時に。",
    "\u0645\u0631\u062d\u0628\u0627 नमस्ते \U0001f469\u200d\U0001f467 👍",
    "<p>https://example.org/a?b=c&d=e#f</p>\n\n| a | b |\n\t`x = [1, 2]` \u00ad\u200b\ufb01",
)
# One or two characters of each kind (spaces, digits, marks, scripts, joiners, emoji). Samples repeat them alone and in
# pairs, because slow patterns and bad merges show on repetitions.
LETTERS = " \t\n\u00a0\u3000aZ1.-'\"(_/<▁é\u0301ß中あ\uac00\u0628\u200d\u200b😀"


def make_fast_tokenizer(folder: Path, scratch: Path) -> Path:
    """Returns a folder with a `tokenizer.json` that was tried: the model's own, or one converted from its slow one.

    Raises:
        BadSource: it cannot be read, takes too long or too much memory, or a file of it is refused.
    """
    source, made = scratch / "tokenizer-source" / folder.resolve().name, scratch / "tokenizer"
    source.mkdir(parents=True)
    made.mkdir()
    seconds = TRIAL_SECONDS
    if (folder / TOKENIZER).exists():
        copy_tokenizer(folder, made)
    else:
        seconds += CONVERSION_SECONDS
        for path in sorted(folder.iterdir()):
            is_index = path.name.endswith(".index.json")
            if path.is_file() and path.suffix in CONVERTED_SUFFIXES and not is_index:
                copy_from_folder(folder, path.name, source / path.name)
    command = [sys.executable, "-P", "-m", __name__, str(source), str(made)]
    # A panic's backtrace is of no use here.
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadSource(f"{folder.name}: its tokenizer did not split samples within {seconds} s") from error
    if done.returncode:
        raise BadSource(f"{folder.name} has no tokenizer that can be used: {_reason(done)}")
    return made


def _reason(done: "subprocess.CompletedProcess[bytes]") -> str:
    """Returns the last line that the child wrote of its error, or what is known where it was ended from outside."""
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    if lines and done.returncode == FAILED:
        return lines[-1]
    others = done.stderr.decode(errors="replace").strip().splitlines()
    return f"it ended with code {done.returncode}" + (f" ({printable(others[-1])})" if others else "")


def main(source: Path, made: Path) -> None:
    """Converts the tokenizer of a folder where it has not been copied to `made`, and tries it."""
    # Where the system has no such limit, time is one.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    if not (made / TOKENIZER).exists():
        _convert(source, made)
    for name in (TOKENIZER, TARGET_TOKENIZER):
        if (made / name).exists():
            tokenizer = read_json(made / name)
            has_slow_patterns = replace_slow_patterns(tokenizer)
            # Lengths are chosen by whoever reads the tokenizer. Padding to a fixed length could fill the memory.
            has_lengths = bool(tokenizer.pop("padding", None)) | bool(tokenizer.pop("truncation", None))
            if has_slow_patterns or has_lengths:
                write_json(made / name, tokenizer | {"padding": None, "truncation": None}, None)
    try_on_samples(Tokenizer(made))


def _convert(source: Path, made: Path) -> None:
    if is_marian_tokenizer(source):
        write_fast_marian_tokenizer(source, made)
    elif is_m2m100_tokenizer(source):
        write_fast_m2m100_tokenizer(source, made)
    else:
        from transformers import AutoTokenizer

        options = {"use_fast": True, "local_files_only": True, "trust_remote_code": False}
        AutoTokenizer.from_pretrained(source, **options).save_pretrained(made)
        restore_normalizer(source, made)


def try_on_samples(tokenizer: Tokenizer) -> None:
    """Splits samples into tokens and joins them again.

    Raises:
        BadSource: a sample takes too long, or becomes too many tokens or too long a text.
    """
    for sample in samples(tokenizer):
        started = time.process_time()
        ids = tokenizer.encode(sample, SAMPLE_CHARACTERS * MAX_TOKENS_A_CHARACTER).ids
        text = tokenizer.decode(ids[:SAMPLE_CHARACTERS])
        shown = f"{len(sample):,} characters ({sample[:20]!a})"
        if time.process_time() - started > SAMPLE_SECONDS:
            raise BadSource(f"it takes more than {SAMPLE_SECONDS} s to split {shown}")
        most = MAX_TOKENS_A_CHARACTER * (len(sample) + 1)
        if len(ids) >= most or len(text) > most:
            raise BadSource(f"it makes {len(ids):,} tokens of {shown}")


def samples(tokenizer: Tokenizer) -> Iterator[str]:
    """Yields sentences, letters repeated alone and in pairs, and the tokenizer's own pieces."""
    yield from ("", *SENTENCES)
    for first in LETTERS:
        yield f"x{first * SAMPLE_CHARACTERS}y"
        for second in LETTERS:
            yield f"x{(first + second) * (PAIR_CHARACTERS // 2)}y"
    pieces = sorted(tokenizer.vocabulary, key=len, reverse=True)
    for piece in pieces[:20]:
        if piece:
            yield piece * (SAMPLE_CHARACTERS // len(piece))
    for start in range(0, len(pieces), SAMPLE_CHARACTERS // 4):
        yield " ".join(pieces[start : start + SAMPLE_CHARACTERS // 4])


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except SlimseqError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(FAILED)
    except BaseException as error:  # whatever the tokenizer's libraries raise, which may be no Exception
        sys.stdout.write(f"{first_line(error)}\n")
        sys.exit(FAILED)
