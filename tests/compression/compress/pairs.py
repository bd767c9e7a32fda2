"""Pairs of texts for runs of `compress`: many, all different, and in the languages of the tiny models."""

import json
import random
from collections.abc import Iterable
from pathlib import Path

SUBJECTS = ("The baker", "My sister", "A tall man", "Our teacher", "The old captain", "Every child", "The new doctor")
VERBS = ("finds", "paints", "carries", "forgets", "repairs", "admires", "sells", "hides", "measures", "borrows")
OBJECTS = ("a red boat", "the garden gate", "two heavy books", "an empty basket", "the broken clock", "his grey coat")
PLACES = ("near the river", "behind the school", "in the market", "on the hill", "under the bridge", "at the station")
TIMES = (
    "before lunch",
    "every Monday",
    "after the storm",
    "without any help",
    "in the early morning",
    "for his friends",
)
GERMAN = {
    "The baker": "Der Bäcker", "My sister": "Meine Schwester", "A tall man": "Ein großer Mann",
    "Our teacher": "Unser Lehrer", "The old captain": "Der alte Kapitän", "Every child": "Jedes Kind",
    "The new doctor": "Die neue Ärztin", "finds": "findet", "paints": "malt", "carries": "trägt",
    "forgets": "vergisst", "repairs": "repariert", "admires": "bewundert", "sells": "verkauft", "hides": "versteckt",
    "measures": "misst", "borrows": "leiht", "a red boat": "ein rotes Boot", "the garden gate": "das Gartentor",
    "two heavy books": "zwei schwere Bücher", "an empty basket": "einen leeren Korb",
    "the broken clock": "die kaputte Uhr", "his grey coat": "seinen grauen Mantel",
    "near the river": "am Fluss", "behind the school": "hinter der Schule", "in the market": "auf dem Markt",
    "on the hill": "auf dem Hügel", "under the bridge": "unter der Brücke", "at the station": "am Bahnhof",
    "before lunch": "vor dem Mittagessen", "every Monday": "jeden Montag", "after the storm": "nach dem Sturm",
    "without any help": "ohne jede Hilfe", "in the early morning": "am frühen Morgen",
    "for his friends": "für seine Freunde",
}  # fmt: skip


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Returns different English sentences of twenty words or so, each with its German."""
    chance = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        # Two statements in one sentence: with one alone, many sentences would differ in a single place.
        statements = [[chance.choice(part) for part in (SUBJECTS, VERBS, OBJECTS, PLACES, TIMES)] for _ in range(2)]
        source = " and ".join(" ".join(words) for words in statements)
        target = " und ".join(" ".join(GERMAN[word] for word in words) for words in statements)
        found[f"{source}."] = f"{target}."
    return list(found.items())


def written_pairs(path: Path, count: int, seed: int = 0) -> str:
    """Writes different pairs as JSON lines, and returns the file's name."""
    return written_rows(path, pairs(count, seed))


def written_rows(path: Path, texts: Iterable[tuple[str, str]]) -> str:
    """Writes sources with their targets as JSON lines, and returns the file's name."""
    rows = (json.dumps({"source": source, "target": target}) for source, target in texts)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)
