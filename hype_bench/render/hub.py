"""A trained model to the Hugging Face hub, with its card."""

from __future__ import annotations

from pathlib import Path

from hype_bench.options import UserError
from hype_bench.render.model_card import write_card
from hype_bench.runs.weights import check_weights, has_weights
from hype_bench.tables.two_runs import find_run


def push(results_dir: Path, name: str, repository: str, public: bool) -> str:
    """Uploads the ``model`` folder of a run and returns the address.

    Args:
        name: of the run's folder, or how it begins.
        repository: ``user/name``; it is made if there is none, private unless ``public``.

    Raises:
        UserError: there is no such run, its weights were not kept or are others; there is no token, no network, or the
            hub refuses.
    """
    from httpx2 import TransportError
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    status, record = find_run(results_dir, name)
    if not has_weights(status.path):
        raise UserError(f"run {status.identity} has no weights; with training.save=last a new run keeps them")
    check_weights(status.path, record)
    if not get_token():
        raise UserError("the Hugging Face hub wants a token: hf auth login, or HF_TOKEN=...")
    write_card(status.path, record, compared=True)
    api = HfApi()
    try:
        address = api.create_repo(repository, private=not public, exist_ok=True)
        title = f"{status.title} ({status.identity})"
        api.upload_folder(repo_id=address.repo_id, folder_path=status.path / "model", commit_message=title)
    except HFValidationError as error:
        raise UserError(f"{repository} is no name of a repository, such as user/name: {_line(error)}") from error
    except (OfflineModeIsEnabled, TransportError) as error:
        raise UserError(
            f"the Hugging Face hub does not answer ({_line(error)}); nothing is lost: push again"
        ) from error
    except HfHubHTTPError as error:
        raise UserError(f"the Hugging Face hub refuses {repository}: {_line(error)}") from error
    return str(address)


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
