"""Jobs in this process, with worker processes: forms of files, fields that are kept, errors, and what is refused."""

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimseq.evaluation.bulk import parquet, windows
from slimseq.evaluation.bulk.data_files import DataFile
from slimseq.evaluation.bulk.file_job import FileJob, Occupied
from slimseq.evaluation.bulk.generate_file import EngineChoice, Summary, generate_file
from slimseq.evaluation.bulk.journal import CannotContinue, Progress
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.bulk.workers import EngineSetup, WorkerFailed, Workers
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.models_store.errors import CannotWrite
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

TEXTS = ["Good morning.", "The children are playing in the garden.", "It costs $1,299.99.", "It is late."]
TRANSLATED = ["Guten Morgen.", "Die Kinder spielen im Garten."]


@pytest.fixture
def engine(embedded: Store) -> EngineChoice:
    return EngineChoice(embedded, Task.TRANSLATION, "quantized", RowSettings(), workers=1)


def run(job: FileJob, engine: EngineChoice) -> Summary:
    return generate_file(job, engine, lambda *_: None)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def data_file(folder: Path, rows: int = len(TEXTS)) -> Path:
    path = folder / "data.jsonl"
    texts = [TEXTS[place % len(TEXTS)] for place in range(rows)]
    path.write_text("".join(json.dumps({"n": place, "text": text}) + "\n" for place, text in enumerate(texts)))
    return path


def test_rows_keep_their_order_and_their_fields(tmp_path: Path, engine: EngineChoice) -> None:
    seen: list[tuple[int, int | None]] = []
    job = FileJob((data_file(tmp_path),), tmp_path / "out.jsonl")

    done = generate_file(job, engine, lambda progress, total, _: seen.append((progress.rows, total)))

    rows = lines(job.out)
    assert [(row["n"], row["text"]) for row in rows] == list(enumerate(TEXTS))
    assert [row["output"] for row in rows[:2]] == TRANSLATED
    assert {"finish_reason", "confidence", "row_id", "input_tokens", "truncated"} <= rows[0].keys()
    assert (done.rows, done.errors, done.words) == (4, 0, sum(len(text.split()) for text in TEXTS))
    assert seen == [(0, 4), (4, 4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "out.jsonl"]


def test_each_form_has_the_same_outputs(tmp_path: Path, engine: EngineChoice) -> None:
    plain = tmp_path / "data.txt"
    plain.write_text("\n".join(TEXTS[:2]))
    names = ["out.txt", "out.txt.gz", "out.tsv", "out.jsonl.gz", "out.parquet"]
    for name in names:
        run(FileJob((plain,), tmp_path / name), engine)

    assert (tmp_path / "out.txt").read_text().splitlines() == TRANSLATED
    assert gzip.decompress((tmp_path / "out.txt.gz").read_bytes()).decode().splitlines() == TRANSLATED
    head, *table = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert head == ["text", "output", "finish_reason", "confidence", "warnings", "error"]
    assert [row[:3] for row in table] == [[*pair, "eos"] for pair in zip(TEXTS, TRANSLATED, strict=False)]
    packed = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).decode()
    assert [json.loads(line)["output"] for line in packed.splitlines()] == TRANSLATED
    table_of_parquet = pq.read_table(tmp_path / "out.parquet")
    assert table_of_parquet.column("output").to_pylist() == TRANSLATED
    assert table_of_parquet.schema.field("error").type == pa.string()


def test_a_parquet_file_keeps_the_types_of_its_columns(tmp_path: Path, engine: EngineChoice) -> None:
    table = pa.table({"article": TEXTS, "size": pa.array([1, None, 3, 4], pa.int16())})
    pq.write_table(table, tmp_path / "data.parquet")

    run(FileJob((tmp_path / "data.parquet",), tmp_path / "out.parquet"), engine)

    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["article", "size"]).equals(table)
    assert found.column("output").to_pylist()[:2] == TRANSLATED
    assert found.column("warnings").to_pylist()[0] == []


def test_a_row_group_of_a_parquet_file_has_the_rows_of_many_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = parquet.text_schema(["text"])
    windows_of_rows = [[{"text": f"Window {number}, row {row}"} for row in range(5)] for number in range(6)]
    (tmp_path / "streams").write_bytes(b"".join(parquet.as_stream(rows, schema) for rows in windows_of_rows))

    parquet.write_parquet(tmp_path / "streams", tmp_path / "whole.parquet", schema)
    # A window has about 110 bytes.
    monkeypatch.setattr(parquet, "GROUP_BYTES", 300)
    parquet.write_parquet(tmp_path / "streams", tmp_path / "groups.parquet", schema)

    for name, groups in (("whole.parquet", 1), ("groups.parquet", 2)):
        found = pq.ParquetFile(tmp_path / name)
        assert found.num_row_groups == groups
        assert found.read().to_pylist() == list(chain.from_iterable(windows_of_rows))


def test_rows_that_cannot_be_done_are_listed_and_the_others_are_done(tmp_path: Path, engine: EngineChoice) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "Good morning."}\nnonsense\n{"other": 1}\n{"text": 5}\n{"text": "It is late."}\n')
    job = FileJob((data,), tmp_path / "out.jsonl", errors=tmp_path / "errors.jsonl")

    done = run(job, engine)

    rows, errors = lines(job.out), lines(tmp_path / "errors.jsonl")
    assert (done.rows, done.errors, done.errors_file) == (5, 3, str(job.errors))
    assert ["error" in row for row in rows] == [False, True, True, True, False]
    assert [(each["row"], each["line"], each["reason"]) for each in errors] == [
        (2, 2, "the line is not JSON"),
        (3, 3, "the row has no field 'text'"),
        (4, 4, "the text is not a string but int"),
    ]


def test_an_interrupted_job_goes_on_and_ends_in_the_same_bytes(
    tmp_path: Path, engine: EngineChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 4)
    data = data_file(tmp_path, rows=40)
    for ending in ("jsonl.gz", "parquet", "tsv"):
        if ending != "jsonl.gz":
            data = tmp_path / "data.txt"
            data.write_text("\n".join(TEXTS * 10))
        whole, job = tmp_path / f"whole.{ending}", FileJob((data,), tmp_path / f"out.{ending}")
        run(replace(job, out=whole), engine)

        def stop(progress: Progress, *_: object) -> None:
            if progress.rows >= 12:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            generate_file(job, engine, stop)
        assert not job.out.exists()
        done = run(job, engine)

        assert done.resumed_at == 12 and done.rows == 40
        assert job.out.read_bytes() == whole.read_bytes()


def test_a_job_with_other_options_or_changed_data_does_not_go_on(tmp_path: Path, engine: EngineChoice) -> None:
    job = FileJob((data_file(tmp_path),), tmp_path / "out.jsonl")
    with pytest.raises(KeyboardInterrupt):
        generate_file(job, engine, _stop)

    other = replace(engine, settings=RowSettings(options={"num_beams": 2}))
    with pytest.raises(CannotContinue):
        run(job, other)
    data_file(tmp_path, rows=5)
    with pytest.raises(CannotContinue):
        run(job, engine)
    assert run(replace(job, is_anew=True), engine).rows == 5


def _stop(progress: Progress, *_: object) -> None:
    if progress.rows:
        raise KeyboardInterrupt


def refused(tmp_path: Path) -> Iterator[tuple[FileJob, type[Exception], str]]:
    data = data_file(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "there.jsonl").touch()
    job = FileJob((data,), tmp_path / "out.jsonl")
    yield replace(job, data=(tmp_path / "absent.jsonl",)), DatasetUnavailable, "there is no file"
    yield replace(job, data=(tmp_path / "empty.jsonl",)), DatasetUnavailable, "has no rows"
    yield replace(job, field="body"), DatasetUnavailable, "has no field 'body'; it has n, text"
    yield replace(job, out=tmp_path / "out.csv"), DatasetUnavailable, "must end in"
    yield replace(job, out=tmp_path / "there.jsonl"), Occupied, "--force replaces it"
    yield replace(job, out=data, may_replace=True), Occupied, "is data"
    yield replace(job, out=tmp_path / "absent" / "out.jsonl"), CannotWrite, "there is no folder"
    yield replace(job, out=tmp_path / "out.tsv"), DatasetUnavailable, "write a .jsonl file"
    yield replace(job, out=tmp_path / "out.parquet"), DatasetUnavailable, "types of .jsonl fields"
    yield replace(job, errors=Path("-")), CannotWrite, "errors need a file with a name"
    yield replace(job, errors=job.out), Occupied, "the rows and the errors need other names"
    # The finished windows have this name until the output is complete.
    yield replace(job, errors=tmp_path / "out.jsonl.partial"), Occupied, "the rows and the errors need other names"
    yield replace(job, data=(data, Path("-"))), DatasetUnavailable, "standard input cannot be read together"


def test_what_cannot_work_is_refused_before_any_work(tmp_path: Path, engine: EngineChoice) -> None:
    for job, error, reason in refused(tmp_path):
        before = sorted(tmp_path.iterdir())

        with pytest.raises(error, match=reason):
            run(job, engine)

        assert sorted(tmp_path.iterdir()) == before


def test_data_that_has_a_field_of_the_outputs_is_refused(tmp_path: Path, engine: EngineChoice) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "Good morning.", "output": "mine"}\n')

    with pytest.raises(DatasetUnavailable, match="has a field 'output', which the outputs have too"):
        run(FileJob((tmp_path / "data.jsonl",), tmp_path / "out.jsonl"), engine)


def test_a_disk_without_space_for_the_rows_is_refused(
    tmp_path: Path, engine: EngineChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))

    with pytest.raises(CannotWrite, match=r"the disk has 0\.0 MB free"):
        run(FileJob((data_file(tmp_path),), tmp_path / "out.jsonl"), engine)


def test_the_disk_needs_no_space_for_what_an_earlier_run_has_written(
    tmp_path: Path, engine: EngineChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_ROWS", 4)
    job = FileJob((data_file(tmp_path, rows=8),), tmp_path / "out.jsonl")
    with pytest.raises(KeyboardInterrupt):
        generate_file(job, engine, _stop)
    written, data = (tmp_path / "out.jsonl.partial").stat().st_size, job.data[0].stat().st_size
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=data - written))

    assert run(job, engine).rows == 8


def test_outputs_alone_need_no_space_for_the_fields_of_the_data(
    tmp_path: Path, engine: EngineChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))

    assert run(FileJob((data_file(tmp_path),), tmp_path / "out.txt"), engine).rows == 4


def test_data_is_never_replaced_under_another_name(tmp_path: Path, engine: EngineChoice) -> None:
    data = data_file(tmp_path)
    (tmp_path / "link.jsonl").symlink_to(data)
    (tmp_path / "hard.jsonl").hardlink_to(data)
    partial = tmp_path / "new.jsonl.partial"
    partial.write_bytes(data.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    for out in ("link.jsonl", "hard.jsonl"):
        with pytest.raises(Occupied, match="is data"):
            run(FileJob((data,), tmp_path / out, may_replace=True), engine)
    with pytest.raises(Occupied, match=r"new\.jsonl\.partial is data"):
        run(FileJob((partial,), tmp_path / "new.jsonl", data_form="jsonl", is_anew=True), engine)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, engine: EngineChoice) -> None:
    job = FileJob((data_file(tmp_path),), Path("/dev/null"), out_form="txt", may_replace=True)

    with pytest.raises(Occupied, match="/dev/null is not a regular file"):
        run(job, engine)


def test_a_field_of_a_later_row_is_not_replaced_by_that_of_the_output(tmp_path: Path, engine: EngineChoice) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "Good morning."}\n{"text": "Good morning.", "output": "mine"}\n')
    job = FileJob((data,), tmp_path / "out.jsonl")

    assert run(job, engine).errors == 1

    row = lines(job.out)[1]
    assert row["output"] == "mine"
    assert row["error"] == "the row has a field 'output', which the outputs have too"


@pytest.mark.parametrize("ending", ["tsv", "parquet"])
def test_files_with_different_columns_do_not_go_into_one_table(
    tmp_path: Path, engine: EngineChoice, ending: str
) -> None:
    (tmp_path / "a.tsv").write_text("text\nGood morning.\n")
    (tmp_path / "b.tsv").write_text("text\tid\nGood morning.\t7\n")
    job = FileJob((tmp_path / "a.tsv", tmp_path / "b.tsv"), tmp_path / f"out.{ending}")

    with pytest.raises(DatasetUnavailable, match="the data files have different columns"):
        run(job, engine)


def test_data_that_changes_while_it_is_read_ends_the_job(tmp_path: Path, engine: EngineChoice) -> None:
    job = FileJob((data_file(tmp_path),), tmp_path / "out.jsonl")

    def append(*_: object) -> None:
        with job.data[0].open("a") as file:
            file.write('{"text": "It is late."}\n')

    with pytest.raises(DatasetUnavailable, match="a data file changed while it was read"):
        generate_file(job, engine, append)

    assert not job.out.exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.errors.jsonl"])
def test_another_job_that_finishes_a_file_first_is_not_overwritten(
    tmp_path: Path, engine: EngineChoice, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job = FileJob((data_file(tmp_path),), tmp_path / "out.jsonl")
    count = DataFile.count

    def finish_another(self: DataFile) -> tuple[int, int]:
        (tmp_path / name).write_text("another")
        return count(self)

    monkeypatch.setattr(DataFile, "count", finish_another)
    with pytest.raises(Occupied, match="--force replaces it"):
        run(job, engine)

    assert (tmp_path / name).read_text() == "another"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", name]


def test_the_errors_of_standard_output_replace_those_of_an_earlier_job(tmp_path: Path, engine: EngineChoice) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "Good morning."}\nnonsense\n')
    errors = tmp_path / "errors.jsonl"
    errors.write_text("old\n")

    run(FileJob((tmp_path / "data.jsonl",), Path("-"), errors=errors, may_replace=True), engine)

    assert [each["row"] for each in lines(errors)] == [2]


def test_an_error_of_another_file_is_not_blamed_on_the_output(tmp_path: Path, engine: EngineChoice) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "elsewhere")

    with pytest.raises(PermissionError, match="elsewhere"):
        generate_file(FileJob((data_file(tmp_path),), tmp_path / "out.jsonl"), engine, refuse)


def test_settings_that_the_artifact_cannot_follow_end_the_job_in_one_line(tmp_path: Path, engine: EngineChoice) -> None:
    job = FileJob((data_file(tmp_path),), tmp_path / "out.jsonl")

    with pytest.raises(WorkerFailed, match="fr"):
        run(job, replace(engine, settings=RowSettings(target="fr")))

    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


def test_there_are_no_more_workers_than_rows(tmp_path: Path, engine: EngineChoice) -> None:
    done = run(FileJob((data_file(tmp_path, rows=1),), tmp_path / "out.jsonl"), replace(engine, workers=0))

    assert done.workers == 1


def test_windows_come_back_in_order_and_few_are_in_memory(engine: EngineChoice) -> None:
    setup = EngineSetup(engine.store.root, engine.task, engine.variant, RowSettings(as_is=True))
    read = 0

    def windows() -> Iterator[tuple[int, list[str]]]:
        nonlocal read
        for number in range(20):
            read += 1
            # The first windows take longest, so that the second worker is ahead.
            yield number, TEXTS * (10 if number % 4 == 0 else 1)

    with Workers[int](setup, 2) as workers:
        for place, (number, rows) in enumerate(workers.run(windows())):
            assert number == place and len(rows) == len(TEXTS) * (10 if number % 4 == 0 else 1)
            assert read <= place + 1 + 6


def test_a_worker_that_is_killed_ends_the_job_with_a_reason(engine: EngineChoice) -> None:
    setup = EngineSetup(engine.store.root, engine.task, engine.variant, RowSettings(as_is=True))

    with Workers[int](setup, 1) as workers:
        workers._workers[0]._process.kill()
        with pytest.raises(WorkerFailed, match="a worker process has ended by signal 9"):
            list(workers.run([(0, TEXTS)]))


def test_ctrl_c_on_a_terminal_does_not_reach_the_workers(engine: EngineChoice) -> None:
    setup = EngineSetup(engine.store.root, engine.task, engine.variant, RowSettings(as_is=True))

    with Workers[int](setup, 1) as workers:
        # A terminal interrupts the process group of the command.
        assert os.getpgid(workers._workers[0]._process.pid) != os.getpgid(0)


def test_an_artifact_that_was_replaced_meanwhile_is_not_used(engine: EngineChoice) -> None:
    setup = EngineSetup(engine.store.root, engine.task, engine.variant, RowSettings(), digest="sha256:" + "0" * 64)

    with pytest.raises(WorkerFailed, match="translation/quantized was replaced in the store"), Workers[int](setup, 1):
        pass
