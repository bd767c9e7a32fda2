"""Downloads a model's files from a hub that speaks the Hugging Face protocol (`HF_ENDPOINT` names another)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slimseq.compression.context import Context, every
from slimseq.models_store.errors import BadSource
from slimseq.models_store.model_folder import max_bytes

PATTERNS = ["*.json", "*.safetensors", "spiece.model", "sentencepiece.bpe.model", "*.spm", "merges.txt", "*.txt"]
LOOK_SECONDS = 0.5
# The account of https://huggingface.co/spaces/safetensors/convert.
CONVERTER = "SFconvertbot"


def download(
    context: Context, source: str, revision: str | None, folder: Path, check: Callable[[], None]
) -> str | None:
    """Downloads configuration, tokenizer and safetensors of a model `owner/name` into a folder; returns the revision.

    `check` is called when the folder has `config.json`, before other files are downloaded. The revision is a branch,
    tag or commit; None takes the main branch. If that has only pickled weights, as NLLB-200 has, those are taken that
    the hub's own bot made of them.

    Raises:
        BadSource: there is no such model, it is gated, or the hub cannot be reached; one line says which.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if HF_HUB_OFFLINE:
        raise BadSource(f"{source} is not a folder here, and HF_HUB_OFFLINE forbids asking {ENDPOINT}")
    # Its progress bars rewrite their line, which does not work in files and pipes.
    disable_progress_bars()
    try:
        with _showing(context, source, folder):
            snapshot_download(source, revision=revision, allow_patterns="config.json", local_dir=folder)
            if not (folder / "config.json").exists():
                raise BadSource(f"{source} has no config.json, so that it is no model of transformers")
            check()
            _refuse_large_files(HfApi().list_repo_tree(source, revision=revision), source)
            snapshot_download(source, revision=revision, allow_patterns=PATTERNS, local_dir=folder)
            if revision is None and not any(folder.glob("*.safetensors")):
                # The pull request with which the hub's bot adds safetensors to a model, such as `refs/pr/45`.
                opened = HfApi().get_repo_discussions(source, author=CONVERTER, discussion_type="pull_request")
                revision = next((each.git_reference for each in opened if "safetensors" in each.title.lower()), None)
                if revision is not None:
                    snapshot_download(source, revision=revision, allow_patterns="*.safetensors*", local_dir=folder)
        return revision
    except GatedRepoError as error:
        raise BadSource(f"{source} is gated: accept its terms on {ENDPOINT} and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise BadSource(f"{source} is neither a folder here nor a model on {ENDPOINT}") from error
    except RevisionNotFoundError as error:
        raise BadSource(f"{source} has no revision {revision!r}") from error
    except HFValidationError as error:
        raise BadSource(f"{source!r} is neither a folder here nor a hub id such as google-t5/t5-small") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        # The cause is an error of the HTTP client of the library: requests, httpx or httpx2.
        is_unreachable = isinstance(error, LocalEntryNotFoundError) and not isinstance(error.__cause__, HfHubHTTPError)
        reason = "it cannot be reached" if is_unreachable else str(error.__cause__ or error).splitlines()[0]
        raise BadSource(f"{source} is not a folder here, and {ENDPOINT} did not give it: {reason}") from error


def _refuse_large_files(entries: Iterable[Any], source: str) -> None:
    """Refuses sizes that no such file has, before anything but the configuration is downloaded."""
    for entry in entries:
        size, limit = getattr(entry, "size", None), max_bytes(entry.path)
        if size is not None and limit is not None and size > limit:
            raise BadSource(f"{source}: {entry.path} has {size:,} bytes, and such a file has at most {limit:,}")


@contextmanager
def _showing(context: Context, source: str, folder: Path) -> Iterator[None]:
    """Shows the downloaded megabytes, which the library reports only to its own progress bars."""
    with context.progress() as display:
        task = display.add_task(f"Downloading {source}", total=None, status="", unit="MB")

        def look() -> None:
            # A file may be renamed in the meantime.
            with suppress(OSError):
                display.update(task, completed=sum(path.stat().st_size for path in folder.rglob("*")) / 1e6)

        with every(LOOK_SECONDS, look):
            yield
