"""The figures of a run: well-formed, escaped, complete for screen readers, and with everything in its place."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from slimseq.compression.compress.candidate import FrontPoint
from slimseq.compression.compress.figures.front_chart import front_chart
from slimseq.compression.compress.figures.structure_chart import structure_chart
from slimseq.compression.compress.figures.svg import Scale, round_logarithmic_ticks, round_ticks
from slimseq.compression.compress.structures.structure_rows import (
    StructurePart,
    StructureRow,
    StructureStep,
    structure_rows,
)
from slimseq.compression.prune.model_parts import PartKind
from tests.compression.compress.tables import random_costs, random_losses, whole_model

SVG = "{http://www.w3.org/2000/svg}"
POINT = FrontPoint("quantized", "int8", 12_500_000, 100.0, 2.0, 0.99, (0.98, 1.0), 0.982, True)
POINTS = [
    POINT,
    replace(
        POINT, variant="fast", speed_up=4.0, bytes=8_000_000, retention=0.975, interval=(0.96, 0.985), is_chosen=True
    ),
    replace(POINT, variant="small", speed_up=7.5, bytes=3_000_000, retention=0.93, interval=(0.91, 0.95), keeps=False),
]
LEVELS: dict[PartKind, tuple[int, ...]] = {"heads": (8, 4, 1), "cross_heads": (8, 4, 1), "feed_forward": (64, 32, 8)}


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def child_text(element: ElementTree.Element, name: str) -> str:
    """Returns the text of a child, such as the tooltip in its `title`."""
    return element.findtext(f"{SVG}{name}") or ""


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def words(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter(f"{SVG}text")]


def test_the_front_names_every_variant_in_both_panels_and_marks_the_chosen_one() -> None:
    svg = front_chart(POINTS, 0.97, "translation/portuguese", "chrF kept", original_bytes=46_000_000)

    for name in ("quantized", "fast", "small", "original", "bar 0.97"):
        assert words(svg).count(name) == 2
    groups = [element.get("class") for element in parsed(svg).iter(f"{SVG}g")]
    assert groups.count("chosen") == 2
    assert sum("hollow" in (element.get("class") or "") for element in parsed(svg).iter(f"{SVG}circle")) == 2


def test_faster_is_further_right_and_better_is_higher() -> None:
    svg = parsed(front_chart(POINTS, 0.97, "front"))

    places = {}
    for group in list(svg.iter(f"{SVG}g"))[:3]:
        point = group.findall(f"{SVG}circle")[-1]
        places[child_text(group, "title").split(":")[0]] = number(point, "cx"), number(point, "cy")
    assert places["quantized"][0] < places["fast"][0] < places["small"][0]
    assert places["quantized"][1] < places["fast"][1] < places["small"][1]


def test_names_in_figures_are_escaped() -> None:
    svg = front_chart([replace(POINT, variant="<script>&")], 0.97, 'a "<b>" & c')

    assert "<script>&" in words(svg)
    assert "<script>" not in svg
    assert child_text(parsed(svg), "title") == 'a "<b>" & c'


def test_a_front_without_a_choice_says_so() -> None:
    assert "No variant keeps the bar of 0.999" in front_chart([POINT], 0.999, "front")


@pytest.mark.parametrize("count", [1, 2, 6])
def test_all_names_of_a_front_are_inside_of_the_figure(count: int) -> None:
    points = [
        replace(POINT, variant=f"a-variant-with-a-long-name-{index}", speed_up=2.0 + index / 5)
        for index in range(count)
    ]

    svg = parsed(front_chart(points, 0.97, "front"))

    for element in svg.iter(f"{SVG}text"):
        if element.get("x") is not None:
            assert 0 <= number(element, "x") <= 920
            assert 0 <= number(element, "y") <= 470


def test_figures_say_what_they_show_and_need_nothing_from_elsewhere() -> None:
    whole = whole_model(2, 2)
    rows = structure_rows(whole, random_losses(whole, LEVELS, 0), random_costs(whole, LEVELS, 0))

    for svg in (front_chart(POINTS, 0.97, "front"), structure_chart(rows, "structures")):
        root = parsed(svg)
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == "title description"
        assert len(child_text(root, "desc")) > 100
        assert "prefers-color-scheme: dark" in svg
        assert not re.search(r"href|url\(|@import|<script|<image", svg)


def test_the_structures_have_a_row_for_each_layer_and_a_box_for_each_step() -> None:
    whole = whole_model(3, 2)
    rows = structure_rows(whole, random_losses(whole, LEVELS, 0), random_costs(whole, LEVELS, 0))

    svg = parsed(structure_chart(rows, "structures"))

    tooltips = [element.text or "" for element in svg.iter(f"{SVG}title")]
    for stack, count, parts in (("encoder", 3, 2), ("decoder", 2, 3)):
        for layer in range(count):
            of_layer = [each for each in tooltips if each.startswith(f"{stack} layer {layer}, ")]
            # Two steps of each part, and what stays of it.
            assert len(of_layer) == 3 * parts
    removals = [each for each in tooltips if "its removal adds" in each]
    assert len(removals) == 2 + 1
    assert words(structure_chart(rows, "structures")).count("stays") == 2


def test_the_length_of_a_box_is_its_time_and_its_colour_its_loss() -> None:
    steps = (StructureStep(4, 0.10, 0.001), StructureStep(2, 0.05, 1.0))
    rows = [StructureRow("encoder", "0", (StructurePart("feed-forward", steps, 0.05),))]

    boxes = {}
    for box in parsed(structure_chart(rows, "structures")).iter(f"{SVG}rect"):
        boxes[child_text(box, "title")] = number(box, "width"), box.get("fill")
    [weak] = [box for tooltip, box in boxes.items() if "down to 4" in tooltip]
    [strong] = [box for tooltip, box in boxes.items() if "down to 2" in tooltip]

    assert weak[0] == pytest.approx(2 * strong[0], abs=0.2)
    assert (weak[1], strong[1]) == ("var(--step0)", "var(--step6)")


def test_structures_without_losses_are_grey() -> None:
    rows = [
        StructureRow("vocabulary", "vocabulary", (StructurePart("vocabulary", (StructureStep(50, 0.1, None),), 0.1),))
    ]

    svg = structure_chart(rows, "structures")

    assert "loss not measured" in svg


def test_ticks_are_round_numbers_inside_of_their_axis() -> None:
    assert round_ticks(0.93, 1.01, 5) == [0.94, 0.96, 0.98, 1.0]
    assert round_ticks(1.0, 1.0, 5) == [1.0]
    assert round_logarithmic_ticks(0.9, 9) == [1, 2, 5]
    assert round_logarithmic_ticks(3, 5000) == [10, 100, 1000]
    assert all(2.0 <= tick <= 2.2 for tick in round_logarithmic_ticks(2.0, 2.2))


def test_scales_map_the_ends_of_an_axis_to_the_ends_of_a_panel() -> None:
    linear, logarithmic = Scale(0, 10, 100, 200), Scale(1, 100, 100, 200, is_logarithmic=True)

    assert [linear(0), linear(5), linear(10)] == [100, 150, 200]
    assert [logarithmic(1), logarithmic(10), logarithmic(100)] == pytest.approx([100, 150, 200])
