"""Synthetic English sentences with numbers, dates, addresses, code and tags, and what their German translation needs.

Rules make the sentences from templates in `faithful_sentences.jsonl`. They are independent of the code that protects
such spans: nobody looked at them while writing it, and the German forms are written anew here.
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
# Hours between "3 a.m." and "3 p.m.".
MIDDAY = 12


@dataclass(frozen=True)
class Wanted:
    """What a translation must have of one span, such as a date.

    Args:
        source: the span, as it is in the sentence.
        forms: the right German forms. The translation must have one of them, exactly once.
        words: groups of words, such as a currency's sign and names. The translation must have a word of each group.
    """

    source: str
    forms: tuple[str, ...]
    words: tuple[tuple[str, ...], ...] = ()

    def is_in(self, output: str) -> bool:
        occurrences = sum(len(re.findall(_alone(form), output)) for form in set(self.forms))
        has_words = all(any(word.lower() in output.lower() for word in group) for group in self.words)
        return occurrences == 1 and has_words


@dataclass(frozen=True)
class FaithfulSentence:
    """A sentence, the kind of its spans, and what is wanted of its translation."""

    kind: str
    text: str
    wanted: tuple[Wanted, ...]

    def lost(self, output: str) -> list[str]:
        """Returns the spans that a translation lacks."""
        return [each.source for each in self.wanted if not each.is_in(output)]


def _alone(form: str) -> str:
    """Returns a pattern of a form that is no part of a longer number: `7` is not in `17`, `7,5` or `1.7`."""
    before = r"(?<![0-9])(?<![0-9][.,])" if form[0].isdigit() else ""
    after = r"(?![0-9])(?![.,][0-9])" if form[-1].isdigit() else ""
    return before + re.escape(form) + after


def _german(number: str) -> str:
    """Returns an English number with the German decimal comma and thousands points."""
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
    # The hour of 24: 12 a.m. is 0, 12 p.m. is 12.
    hour_of_day = hour % MIDDAY + (MIDDAY if half[0] == "p" else 0)
    german = (f"{hour_of_day}:{minute}", f"{hour_of_day}.{minute}", f"{hour_of_day:02}:{minute}")
    return Wanted(f"{hour}:{minute} {half}", german)


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
    """Returns random sentences. The kinds take turns."""
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
        span = KINDS[kind](random)
        # Two spans with a common form could not be told apart in the translation.
        if not any(set(span.forms) & set(other.forms) for other in wanted):
            wanted.append(span)
    return FaithfulSentence(kind, template.format(*(each.source for each in wanted)), tuple(wanted))
