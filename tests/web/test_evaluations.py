"""The views of evaluations: start, watch, read, share."""

from tests.service.client import Service
from tests.web.conftest import Visit, Visitor

# The field takes JSON lines and tab-separated lines.
PAIRS = '{"source": "Good morning.", "target": "Guten Morgen."}\nGood night.\tGute Nacht.'


def test_an_evaluation_is_started_watched_and_read(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_role("checkbox", name="compact").uncheck()
    page.get_by_label("Samples", exact=True).fill("4")

    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    text = page.locator("main").inner_text()
    assert visitor.serious_violations() == []
    assert "succeeded" in text
    assert "4 samples of the bundled set" in text
    assert "To see it, evaluate" not in text
    assert "Only 4 samples: too few to compare variants." in text
    first = page.locator("table").first.inner_text()
    assert "original" in first
    assert "quantized" in first


def test_own_pairs_are_evaluated(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_role("checkbox", name="compact").uncheck()
    page.get_by_role("checkbox", name="original").uncheck()
    page.get_by_role("radio", name="Pairs").check()
    page.get_by_label("Pairs, one a line").fill(PAIRS)

    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    text = " ".join(page.locator("main").inner_text().split())
    assert "2 own pairs" in text
    assert "To see it, evaluate quantized together with original." in text


def test_what_cannot_be_evaluated_says_why(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_label("Samples", exact=True).fill("100000")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("are too many; at most").wait_for()
    page.get_by_role("radio", name="Pairs").check()
    page.get_by_label("Pairs, one a line").fill('Good night.\tGute Nacht.\n{"source": "Good morning."}')

    page.get_by_role("button", name="Start").click()

    page.get_by_text("Line 2: needs the texts source and target.").wait_for()
    assert page.get_by_role("button", name="Start").is_enabled()


def test_an_evaluation_is_cancelled(visitor: Visitor, service: Service) -> None:
    body = {"task": "summarization", "variants": ["original"], "dataset": "sample", "samples": 40}
    job = service.post("/evaluations", body).json
    page = visitor.open(f"evaluations/{job['id']}")

    page.get_by_role("button", name="Cancel").click()

    page.get_by_text("cancelled", exact=True).wait_for()


def test_a_file_is_uploaded(visitor: Visitor) -> None:
    page = visitor.open("evaluations")
    page.get_by_role("checkbox", name="compact").uncheck()
    page.get_by_role("radio", name="File").check()
    content = PAIRS.splitlines()[0].encode() + b"\n"
    page.get_by_label("File with pairs").set_input_files(
        {"name": "mine.jsonl", "mimeType": "application/jsonl", "buffer": content}
    )

    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    assert "1 sample of mine.jsonl" in page.locator("main").inner_text()


def test_the_outputs_of_an_evaluation_are_read_page_by_page(visitor: Visitor, service: Service) -> None:
    pairs = [{"source": f"Good <b>morning</b> {number}.", "target": "Guten Morgen."} for number in range(12)]
    body = {"task": "translation", "variants": ["original", "compact"], "pairs": pairs}
    job = service.post("/evaluations", body).json
    page = visitor.open(f"evaluations/{job['id']}")
    page.get_by_role("heading", name="Outputs").wait_for()
    first = page.locator(".output-list > li").all_inner_texts()

    page.get_by_role("button", name="Show more").click()
    page.locator(".output-list > li").nth(11).wait_for()
    marked = page.locator(".output-list ins").count()
    page.get_by_role("switch", name="Mark what differs from original").uncheck()

    samples = service.get(f"/evaluations/{job['id']}/samples").json["samples"]
    assert len(first) == 10
    assert marked > 0
    assert page.get_by_role("button", name="Show more").count() == 0
    for shown, sample in zip(page.locator(".output-list > li").all_inner_texts(), samples, strict=True):
        lines = shown.split("\n")
        assert lines[1] == sample["source"]
        assert lines[4] == "original"
        assert lines[6] == "compact"
        output = sample["outputs"]["compact"]
        assert lines[7] == f"{output['text']} {output['score']:.1f}, confidence {output['confidence']:.2f}"


def test_the_warnings_about_an_output_are_shown_below_it(visit: Visit, service: Service) -> None:
    german = "Die Kinder spielen heute im Garten, weil die Sonne scheint und die Schule geschlossen ist."
    pairs = [{"source": german, "target": german}, {"source": "Good morning.", "target": "Guten Morgen."}]
    # The languages are stated. Without them, the service refuses texts that are surely in another language.
    body = {"task": "translation", "variants": ["compact"], "pairs": pairs, "languages": ["en", "de"]}
    job = service.post("/evaluations", body).json
    with visit(viewport={"width": 360, "height": 740}) as visitor:
        page = visitor.open(f"evaluations/{job['id']}")
        page.get_by_role("heading", name="Outputs").wait_for()

        warned, other = page.locator(".output-list > li").all()
        said = warned.get_by_role("list", name="Warnings").inner_text()
        assert "Other language. The text seems to be in German." in said
        assert other.get_by_role("list", name="Warnings").count() == 0
        assert visitor.serious_violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_older_evaluations_are_shown_on_request(visitor: Visitor, service: Service) -> None:
    body = {"task": "translation", "variants": ["compact"], "dataset": "sample", "samples": 1}
    jobs = [service.post("/evaluations", body).json["id"] for _ in range(2)]
    page = visitor.page
    page.route("**/evaluations", lambda route: route.continue_(url=f"{route.request.url}?limit=1"))
    visitor.open("evaluations")
    page.locator(f'a[href$="{jobs[1]}"]').wait_for()

    page.get_by_role("button", name="Show older").click()

    page.locator(f'a[href$="{jobs[0]}"]').wait_for()
