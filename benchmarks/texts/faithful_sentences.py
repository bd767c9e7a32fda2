"""Synthetic English sentences with numbers, dates, addresses, code and tags, and what their German must have.

They are made by rule from templates of their own, `faithful_sentences.jsonl`: nothing here was looked at to write the
rules of protection, nor are the German forms taken from there.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

MONTHS = {
    **{"January": "Januar", "February": "Februar", "March": "März", "April": "April", "May": "Mai", "June": "Juni"},
    **{"July": "Juli", "August": "August", "September": "September", "October": "Oktober"},
    **{"November": "November", "December": "Dezember"},
}
CURRENCIES = {"$": ("$", "Dollar", "USD"), "£": ("£", "Pfund", "GBP"), "€": ("€", "Euro", "EUR")}
SCALES = {"million": ("Million", "Mio"), "billion": ("Milliarde", "Mrd")}
WORDS = ("garden", "river", "market", "island", "orchard", "harbour", "meadow", "castle", "forest", "valley")
FIRST_NAMES = ("erika", "tobias", "nora", "felix", "amelie", "jonas")
MIDDAY = 12


@dataclass(frozen=True)
class Wanted:
    """What a translation must have of one span.

    Args:
        source: the span, as it is in the sentence.
        forms: one of them must be there, exactly once.
        words: of each group one must be there too.
    """

    source: str
    forms: tuple[str, ...]
    words: tuple[tuple[str, ...], ...] = ()

    def is_in(self, output: str) -> bool:
        whole = sum(len(re.findall(_alone(form), output)) for form in set(self.forms))
        return whole == 1 and all(any(word.lower() in output.lower() for word in group) for group in self.words)


@dataclass(frozen=True)
class FaithfulSentence:
    """A sentence, the kind of its spans, and what is wanted of its translation."""

    kind: str
    text: str
    wanted: tuple[Wanted, ...]

    def lost(self, output: str) -> list[str]:
        return [each.source for each in self.wanted if not each.is_in(output)]


def _alone(form: str) -> str:
    before = r"(?<![0-9])(?<![0-9][.,])" if form[0].isdigit() else ""
    after = r"(?![0-9])(?![.,][0-9])" if form[-1].isdigit() else ""
    return before + re.escape(form) + after


def _german(number: str) -> str:
    return number.translate(str.maketrans(",.", ".,"))


def _same(text: str) -> Wanted:
    return Wanted(text, (text,))


def _number(random: Random) -> Wanted:
    decimal = f"{random.randint(1, 99)}.{random.randint(1, 9)}"
    grouped = f"{random.randint(1_000, 9_999_999):,}"
    return random.choice(
        [
            _same(str(random.randint(13, 999))),
            Wanted(grouped, (_german(grouped), grouped.replace(",", ""))),
            Wanted(decimal, (_german(decimal), decimal)),
            Wanted(f"{decimal}%", (_german(decimal),), (("%", "Prozent"),)),
        ]
    )


def _amount(random: Random) -> Wanted:
    sign, scale = random.choice(list(CURRENCIES)), random.choice(list(SCALES))
    if random.random() < 0.3:
        number = f"{random.randint(1, 99)}.{random.randint(1, 9)}"
        return Wanted(f"{sign}{number} {scale}", (_german(number),), (CURRENCIES[sign], SCALES[scale]))
    number = f"{random.choice([random.randint(3, 999), random.randint(1_000, 99_999)]):,}.{random.randint(0, 99):02}"
    return Wanted(sign + number, (_german(number), _german(number).replace(".", "")), (CURRENCIES[sign],))


def _date(random: Random) -> Wanted:
    month, day, year = random.choice(list(MONTHS)), random.randint(1, 28), random.randint(1850, 2049)
    german = (f"{day}. {MONTHS[month]} {year}",)
    english, iso = random.choice([f"{month} {day}, {year}", f"{day} {month} {year}"]), f"{year}-07-{day:02}"
    return random.choice([Wanted(english, german), Wanted(english, german), _same(iso)])


def _time(random: Random) -> Wanted:
    hour, minute = random.randint(1, 12), random.randint(10, 59)
    half = random.choice(["a.m.", "p.m.", "am", "pm", ""])
    if not half:
        written = f"{random.randint(13, 23)}:{minute}"
        return Wanted(written, (written, written.replace(":", ".")))
    full = hour % MIDDAY + (MIDDAY if half[0] == "p" else 0)
    return Wanted(f"{hour}:{minute} {half}", (f"{full}:{minute}", f"{full}.{minute}", f"{full:02}:{minute}"))


def _url(random: Random) -> Wanted:
    host = f"{random.choice(WORDS)}-{random.choice(WORDS)}.{random.choice(['example', 'org', 'net', 'test'])}"
    path = random.choice(["", f"/{random.choice(WORDS)}", f"/{random.choice(WORDS)}/{random.randint(1, 999)}?id=x7"])
    return _same(random.choice(["https://", "http://", "https://www."]) + host + path)


def _email(random: Random) -> Wanted:
    name = f"{random.choice(FIRST_NAMES)}{random.choice(['.', '_', ''])}{random.choice(WORDS)}"
    return _same(f"{name}@{random.choice(WORDS)}.{random.choice(['example', 'org', 'net'])}")


def _phone(random: Random) -> Wanted:
    form = random.choice(["+49 ### ######", "(###) ###-####", "###-###-####", "+1 ### ### ####"])
    return _same("".join(str(random.randint(1, 9)) if sign == "#" else sign for sign in form))


def _code(random: Random) -> Wanted:
    form = random.choice(["`{}_{}()`", "`{} --{}`", "`{}.{}[3]`", "{{{}}}", "%s"])
    return _same(form.format(random.choice(WORDS), random.choice(WORDS)))


KINDS: dict[str, Callable[[Random], Wanted]] = {
    "number": _number,
    "amount": _amount,
    "date": _date,
    "time": _time,
    "url": _url,
    "email": _email,
    "phone": _phone,
    "code": _code,
}
TEMPLATES: dict[str, list[str]] = {}
for _line in Path(__file__).with_suffix(".jsonl").read_text(encoding="utf-8").splitlines():
    _read = json.loads(_line)
    TEMPLATES.setdefault(_read["kind"], []).append(_read["template"])


def sentences(count: int, seed: int) -> list[FaithfulSentence]:
    random = Random(seed)
    names = list(TEMPLATES)
    return [_sentence(names[index % len(names)], random) for index in range(count)]


def _sentence(kind: str, random: Random) -> FaithfulSentence:
    template = random.choice(TEMPLATES[kind])
    if kind == "tag":
        url = _url(random).source
        text = template.format(tag=random.choice(["b", "em", "span"]), word=random.choice(WORDS), url=url)
        return FaithfulSentence(kind, text, tuple(_same(tag) for tag in re.findall("<[^<>]+>", text)))
    wanted: list[Wanted] = []
    while len(wanted) < template.count("{}"):
        each = KINDS[kind](random)
        if not any(set(each.forms) & set(other.forms) for other in wanted):
            wanted.append(each)
    return FaithfulSentence(kind, template.format(*(each.source for each in wanted)), tuple(wanted))
