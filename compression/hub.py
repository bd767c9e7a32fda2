"""Downloads a model's files from a hub that speaks the Hugging Face protocol (`HF_ENDPOINT` names another)."""

from pathlib import Path

from models_store.errors import BadSource

PATTERNS = ["*.json", "*.safetensors", "spiece.model", "*.spm", "merges.txt", "*.txt"]


def download(source: str, revision: str | None, folder: Path) -> Path:
    """Downloads configuration, tokenizer and safetensors of a model.

    Args:
        source: the model's id on the hub, `owner/name`.
        revision: a branch, tag or commit; None takes the main branch.
        folder: where to put them.

    Returns:
        `folder`.

    Raises:
        BadSource: there is no such model, it is gated, or the hub cannot be reached; one line says which.
    """
    import requests
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if HF_HUB_OFFLINE:
        raise BadSource(f"{source} is not a folder here, and HF_HUB_OFFLINE forbids asking {ENDPOINT}")
    try:
        snapshot_download(source, revision=revision, allow_patterns=PATTERNS, local_dir=folder)
    except GatedRepoError as error:
        raise BadSource(f"{source} is gated: accept its terms on {ENDPOINT} and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise BadSource(f"{source} is neither a folder here nor a model on {ENDPOINT}") from error
    except RevisionNotFoundError as error:
        raise BadSource(f"{source} has no revision {revision!r}") from error
    except HFValidationError as error:
        raise BadSource(f"{source!r} is neither a folder here nor a hub id such as google-t5/t5-small") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        is_unreachable = any(isinstance(cause, requests.ConnectionError) for cause in (error, error.__cause__))
        reason = "it cannot be reached" if is_unreachable else str(error.__cause__ or error).splitlines()[0]
        raise BadSource(f"{source} is not a folder here, and {ENDPOINT} did not give it: {reason}") from error
    return folder
