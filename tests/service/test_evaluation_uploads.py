import pytest

from tests.service.client import BOUNDARY, Service
from tests.service.test_evaluations import ended

FIELDS = (("task", "translation"), ("variants", "original"), ("variants", "quantized"))
TSV = "Good morning.\tGuten Morgen.\nThe train is late.\tDer Zug hat Verspätung.\n".encode()
CSV = b'target,source\r\n"Guten Morgen.","Good morning."\r\n"Ja, bitte.",Yes please.\r\n'
JSON_LINES = b'{"source": "Good morning.", "target": "Guten Morgen."}\n\n{"source": "Yes.", "target": "Ja."}\n'


@pytest.mark.parametrize("file", [("pairs.tsv", TSV), ("pairs.csv", CSV), ("pairs.jsonl", JSON_LINES)])
def test_variants_are_evaluated_on_an_uploaded_file(service: Service, file: tuple[str, bytes]) -> None:
    posted = service.upload("/evaluations/upload", FIELDS, file)
    job = ended(service, posted.headers["location"])
    samples = service.get(f"{posted.headers['location']}/samples").json["samples"]

    assert posted.status == 202, posted.text
    assert (job["status"], job["dataset"], job["samples"]) == ("succeeded", file[0], 2), job
    assert (samples[0]["source"], samples[0]["target"]) == ("Good morning.", "Guten Morgen.")
    assert set(samples[1]["outputs"]) == {"original", "quantized"}


@pytest.mark.parametrize(
    ("fields", "file", "status", "said"),
    [
        (FIELDS, ("paper.pdf", b"%PDF-1.7"), 422, "'paper.pdf' is no data set: its name must end in .jsonl"),
        (FIELDS, ("pairs.jsonl.gz", b"\x1f\x8b"), 422, "is no data set"),
        (FIELDS, ("pairs.jsonl", JSON_LINES + b"[1]\n"), 422, "line 4 of pairs.jsonl is not a JSON object"),
        (FIELDS, ("pairs.jsonl", b'{"source": "Yes."}\n'), 422, "line 1 of pairs.jsonl has no `target`"),
        (FIELDS, ("pairs.tsv", TSV + b"alone\n"), 422, "line 3 of pairs.tsv has no `target`"),
        (FIELDS, ("pairs.csv", b"Yes.,Ja.\n"), 422, "must name the columns source and target"),
        (FIELDS, ("pairs.tsv", b"\xff\xfe\x00"), 422, "pairs.tsv is not UTF-8 text"),
        (FIELDS, ("pairs.tsv", b""), 422, "pairs: needs at least 1"),
        (FIELDS, ("pairs.tsv", b"Yes.\tJa.\n" * 1001), 422, "at most 1000 are allowed"),
        (FIELDS, ("pairs.tsv", b"word " * 25_000 + b"\tJa.\n"), 422, "pairs[0].source has more than 20,000 words"),
        (FIELDS[1:], ("pairs.tsv", TSV), 422, "task: is required"),
        (FIELDS[:1], ("pairs.tsv", TSV), 422, "variants: is required"),
        ((*FIELDS, ("variants", "nope")), ("pairs.tsv", TSV), 404, "no variant 'nope'"),
    ],
)
def test_an_upload_that_is_no_data_set_is_refused(
    service: Service, fields: tuple[tuple[str, str], ...], file: tuple[str, bytes], status: int, said: str
) -> None:
    refused = service.upload("/evaluations/upload", fields, file)

    assert refused.status == status and said in refused.problem.detail, refused.text


def test_an_upload_of_nothing_is_told_what_it_needs(service: Service) -> None:
    nothing = service.send("POST", "/evaluations/upload")

    assert nothing.status == 422
    assert nothing.problem.detail == "task: is required; variants: is required; file: is required"


def test_each_path_takes_its_own_kind_of_body(service: Service) -> None:
    as_json = service.post("/evaluations/upload", {"task": "translation"})
    as_form = service.upload("/evaluations", FIELDS, ("pairs.tsv", TSV))
    broken = service.send(
        "POST", "/evaluations/upload", b"nonsense", {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    )

    assert (as_json.status, as_form.status) == (415, 415)
    assert "must be multipart/form-data" in as_json.problem.detail
    assert "must be application/json" in as_form.problem.detail
    assert broken.status == 422
