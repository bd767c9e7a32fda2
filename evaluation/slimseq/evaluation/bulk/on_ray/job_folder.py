"""The files of a job on Ray: parts in a folder `OUT`, and until the job is finished a folder `OUT.job` beside it.

    OUT/part-….jsonl     rows with their outputs, in order within a part
    OUT.job/key          hash of all that decides the outputs: a command with another one does not go on
    OUT.job/lock         locked while a command runs, if the folder is of this machine's file system
    OUT.job/ids/         Ray Data's checkpoints: a file of ids for each part, `….pending.parquet` until it is whole

`OUT` may be an address that pyarrow opens, such as `s3://bucket/folder`.
"""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from slimseq.evaluation.bulk.file_job import Occupied
from slimseq.evaluation.bulk.journal import CannotContinue
from slimseq.models_store.errors import CannotWrite, first_line
from slimseq.models_store.files import writing_to
from slimseq.models_store.locks import try_lock

# The field with the number of a row among those of all data files, from 0 on.
INDEX = "index"
# How the name of a part begins.
PART = "part-"
PENDING, COMMITTED = ".pending.parquet", ".parquet"


def opened(address: str) -> tuple[Any, str]:
    """Returns pyarrow's file system of a path or an address such as `s3://bucket/folder`, and the path in it.

    Raises:
        CannotWrite: the address is of a kind that pyarrow does not know.
    """
    if not is_address(address):
        return pa.fs.LocalFileSystem(), str(Path(address).absolute())
    try:
        filesystem, path = pa.fs.FileSystem.from_uri(address)
    except (pa.ArrowException, OSError) as error:
        raise CannotWrite(Path(address), first_line(error)) from error
    return filesystem, path.rstrip("/")


def is_address(name: str) -> bool:
    return "://" in name


def exists(address: str) -> bool:
    filesystem, path = opened(address)
    return bool(filesystem.get_file_info(path).type != pa.fs.FileType.NotFound)


def write_lines(address: str, lines: Sequence[str]) -> None:
    """Writes a file of lines, or removes it if there are none."""
    filesystem, path = opened(address)
    with writing_to(Path(address)):
        if lines:
            with filesystem.open_output_stream(path) as file:
                file.write("".join(line + "\n" for line in lines).encode())
        elif exists(address):
            filesystem.delete_file(path)


class JobFolder:
    """The folder that a job writes to.

    Raises:
        CannotWrite: the address is of a kind that pyarrow does not know.
    """

    def __init__(self, out: str) -> None:
        self.address = out.rstrip("/") or out
        self.is_local = not is_address(out)
        self.filesystem, self.path = opened(self.address)
        self._job = self.path + ".job"
        self.ids = self._job + "/ids"
        self._key = self._job + "/key"
        # By name of a file of ids: the number of its rows.
        self._rows: dict[str, int] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other commands away while the block runs, where the folder is on this machine's file system.

        Raises:
            CannotContinue: another command writes to the folder.
            Occupied: a file has its name.
            CannotWrite: the folder above is missing or read-only.
        """
        if not self.is_local:
            yield
            return
        self._check_writable()
        with writing_to(Path(self.address)):
            Path(self._job).mkdir(exist_ok=True)
            lock = try_lock(Path(self._job) / "lock")
        if lock is None:
            raise CannotContinue(f"another command is writing {self.address}; try again when it has ended")
        try:
            yield
        finally:
            os.close(lock)
            if Path(self._job).exists() and not self._read_key():
                # There is nothing to go on from.
                self.filesystem.delete_dir(self._job)

    def check_free(self, key: str, *, may_replace: bool, is_anew: bool) -> bool:
        """Checks that a job replaces nothing. Returns whether a job with the key goes on.

        Raises:
            Occupied: the folder has files.
            CannotContinue: the folder has the unfinished work of another job.
        """
        found = self._read_key()
        if found == key and not is_anew:
            return True
        if found and not is_anew:
            raise CannotContinue(
                f"{self.address} is of another command, other data or another artifact: the command that made it "
                "goes on from there, and --anew begins anew"
            )
        names = self._names(self.path)
        if any(not name.startswith(PART) for name in names):
            raise Occupied(f"{self.address} has files that no job wrote; the output needs a folder of its own")
        if names and not may_replace and not found:
            raise Occupied(f"{self.address} has files; --force replaces them")
        return False

    def begin(self, key: str) -> None:
        """Begins anew: removes what another job left, and writes the key."""
        with self._writing():
            # The key first: without it, a killed command leaves nothing that looks like this job.
            self._delete(self._key)
            if self._kind(self.ids) != pa.fs.FileType.NotFound:
                self.filesystem.delete_dir(self.ids)
            for name in self._names(self.path):
                self.filesystem.delete_file(f"{self.path}/{name}")
            self.filesystem.create_dir(self.ids, recursive=True)
            with self.filesystem.open_output_stream(self._key) as file:
                file.write(key.encode())

    def committed_rows(self) -> int:
        """Returns the number of rows whose part is whole."""
        for base in self._committed_parts():
            if base not in self._rows:
                with self.filesystem.open_input_file(f"{self.ids}/{base}{COMMITTED}") as file:
                    self._rows[base] = pq.read_metadata(file).num_rows
        return sum(self._rows.values())

    def written_bytes(self) -> int:
        return sum(each.size or 0 for each in self._listed(self.path))

    def delete_uncommitted(self) -> None:
        """Deletes the parts that a killed command, or a task of it that lived longer, has not committed."""
        committed = self._committed_parts()
        with self._writing():
            for name in self._names(self.path):
                if name.rpartition(".")[0] not in committed:
                    self.filesystem.delete_file(f"{self.path}/{name}")

    def read_rows(self, form: str) -> Iterator[dict[str, Any]]:
        """Yields the rows of all parts."""
        for name in self._names(self.path):
            with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
                if form == "parquet":
                    for batch in pq.ParquetFile(file).iter_batches():
                        yield from batch.to_pylist()
                else:
                    yield from map(json.loads, io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8"))

    def finish(self) -> None:
        """Removes the files of the job beside the parts."""
        with self._writing():
            # The key first: ids without some of their files would make rows twice.
            self._delete(self._key)
            self.filesystem.delete_dir(self._job)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with writing_to(Path(self.address)):
            yield

    def _check_writable(self) -> None:
        parent = Path(self.path).parent
        if self._kind(self.path) == pa.fs.FileType.File:
            raise Occupied(f"{self.address} is a file; --on ray writes a folder of files")
        if not parent.is_dir():
            raise CannotWrite(Path(self.address), f"there is no folder {parent}")
        if not os.access(parent, os.W_OK):
            raise CannotWrite(Path(self.address), "Permission denied")

    def _read_key(self) -> str:
        """Returns the key of an unfinished job. Empty: there is none."""
        if self._kind(self._key) == pa.fs.FileType.NotFound:
            return ""
        with self.filesystem.open_input_stream(self._key) as file:
            return bytes(file.read()).decode()

    def _committed_parts(self) -> set[str]:
        """Returns the names of the parts that are whole, without their endings."""
        names = self._names(self.ids)
        return {name.removesuffix(COMMITTED) for name in names if name.endswith(COMMITTED) and PENDING not in name}

    def _names(self, folder: str) -> list[str]:
        return sorted(each.base_name for each in self._listed(folder))

    def _listed(self, folder: str) -> list[Any]:
        return list(self.filesystem.get_file_info(pa.fs.FileSelector(folder, allow_not_found=True)))

    def _kind(self, path: str) -> Any:
        return self.filesystem.get_file_info(path).type

    def _delete(self, path: str) -> None:
        if self._kind(path) != pa.fs.FileType.NotFound:
            self.filesystem.delete_file(path)
