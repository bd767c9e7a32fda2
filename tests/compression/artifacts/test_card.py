from slimseq.compression.artifacts.card import card_of
from tests.evaluation.conftest import artifact_manifest
from tests.measured import part, score


def test_a_card_says_where_the_variant_loses_most() -> None:
    parts = [part("length", "9 to 21 words", 0.97), part("origin", "news", 0.875), part("origin", "mail", 1.0)]
    scores = [score(36.5, slices=parts), score(29.0, dataset="chat", slices=[part("origin", "forum", 0.9)])]

    card = card_of(artifact_manifest().model_copy(update={"quality": scores}))

    assert card.endswith(
        "\n\nWhere it loses most: the slices with the lowest retention, of 4.\n\n"
        "- sample (test), origin: news: 0.875 [0.825, 0.925], 1,050 samples\n"
        "- chat (test), origin: forum: 0.900 [0.850, 0.950], 1,050 samples\n"
        "- sample (test), length: 9 to 21 words: 0.970 [0.920, 1.020], 1,050 samples\n"
    )
