import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.mixture import Mixture, mixed
from slimseq.compression.train.embedded.substitution import SubstitutedExample
from slimseq.evaluation.dataset_files import Example

NEWS = [
    Example(f"Headline {i}. The mayor opened a bridge. Then all went home.", "A bridge opened.", origin="news")
    for i in range(10)
]
OTHER = [Example(f"text {i}", f"target {i}", origin="other") for i in range(10)]


def counts(examples: list[Example]) -> dict[str | None, int]:
    return {origin: sum(example.origin == origin for example in examples) for origin in ("news", "other")}


def test_weights_say_how_often_an_origin_is_used() -> None:
    seen = mixed([*NEWS, *OTHER], Mixture({"news": 3, "other": 0}), seed=0)

    assert counts(seen) == {"news": 30, "other": 0}


def test_a_fraction_selects_the_same_examples_for_a_seed() -> None:
    mixture = Mixture({"other": 0.5})

    seen = mixed(OTHER, mixture, seed=1)

    assert 0 < len(seen) < 10
    assert seen == mixed(OTHER, mixture, seed=1)
    assert seen != mixed(OTHER, mixture, seed=2)


def test_leads_can_replace_written_targets() -> None:
    seen = mixed(NEWS, Mixture({"news": 0}, lead={"news": 1}, lead_words=4), seed=0)

    assert [example.target for example in seen] == [f"Headline {i}. The mayor opened a bridge." for i in range(10)]


def test_claims_are_targets_of_documents_that_have_one() -> None:
    paper = Example("Small things matter. We study them. They are small.", "On small things.", origin="papers")

    seen = mixed([paper, *NEWS], Mixture({"papers": 0, "news": 0}, claim={"papers": 2, "news": 1}), seed=0)

    assert [example.target for example in seen] == ["We study them."] * 2


def test_excerpts_make_many_documents_of_one() -> None:
    body = " ".join(f"Sentence {number} says little." for number in range(30))
    long = [Example(f"Lyon (CNN){body}", "Little.", origin="news")]
    mixture = Mixture({"news": 0}, lead={"news": 20}, lead_words=8, excerpts=1)

    seen = mixed(long, mixture, seed=0)

    assert len({example.source for example in seen}) > 10
    for example in seen:
        assert example.source.startswith(f"Lyon (CNN){example.target}")
        assert len(example.target.split()) == 8
    assert seen == mixed(long, mixture, seed=0)


def test_leads_are_without_attributions_and_copied_documents_can_be_substituted() -> None:
    news = [Example("The bridge closed, police said. Then it rained.", "Closed.", origin="news")] * 40
    mixture = Mixture({"news": 0}, lead={"news": 1}, lead_words=3, substituted=0.5)

    seen = mixed(news, mixture, seed=0)

    assert {example.target for example in seen} == {"The bridge closed."}
    kinds = [isinstance(example, SubstitutedExample) for example in seen]
    assert 10 < sum(kinds) < 30
    assert len({example.seed for example in seen if isinstance(example, SubstitutedExample)}) == sum(kinds)


def test_a_record_has_the_changed_options() -> None:
    assert Mixture().record() == {}
    assert Mixture({"news": 2}, excerpts=0.5).record() == {"weights": {"news": 2}, "excerpts": 0.5}


def test_an_origin_that_does_not_occur_is_refused() -> None:
    with pytest.raises(BadParameters, match="'sports'; origins that occur: news, other"):
        mixed([*NEWS, *OTHER], Mixture({"sports": 2}), seed=0)
    with pytest.raises(BadParameters, match="at least 0"):
        mixed(NEWS, Mixture({"news": -1}), seed=0)
    with pytest.raises(BadParameters, match="from 0 to 1"):
        mixed(NEWS, Mixture(excerpts=2), seed=0)
    with pytest.raises(BadParameters, match="substituted is -1"):
        mixed(NEWS, Mixture(substituted=-1), seed=0)
