from pathlib import Path

from slimseq.compression.train.data.pairs import TrainingSet
from slimseq.compression.train.embedded.substitution import SubstitutedExample, substitutions
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.tiny import LIMITS, SENTENCES, tiny_tokenizer
from tests.families import Family

SOURCE = [7, 10, 11, 7, 12, 13, 7, 14, 7, 15, 1]
WORDS = list(range(10, 300))


def test_some_rare_tokens_are_replaced_on_both_sides() -> None:
    changed = [substitutions(SOURCE, [10, 11, 7, 12, 99, 1], WORDS, seed) for seed in range(200)]

    # 7 stands too often, 99 is no copy, 13 is in the source alone, and 1 is no word.
    assert {token for each in changed for token in each} == {10, 11, 12}
    assert 60 < sum(len(each) for each in changed) < 120
    assert all(new in WORDS for each in changed for new in each.values())
    assert changed[3] == substitutions(SOURCE, [10, 11, 7, 12, 99, 1], WORDS, 3)


def test_a_pair_stays_a_copy(tmp_path: Path) -> None:
    text = " ".join(english for english, _ in SENTENCES[:3])
    examples = [SubstitutedExample(text, text, seed=seed) for seed in range(20)]
    tokenizer = Tokenizer(tiny_tokenizer(Family.T5, tmp_path))
    plain = TrainingSet([Example(text, text)], tokenizer, "", LIMITS)[0]

    training = TrainingSet(examples, tokenizer, "", LIMITS)
    pairs = [training[index] for index in range(len(training))]

    assert all(pair.source == pair.target for pair in pairs)
    assert all(len(pair.source) == len(plain.source) for pair in pairs)
    assert sum(pair.source != plain.source for pair in pairs) > 10
    assert all(pair.source[-1] == plain.source[-1] for pair in pairs)
