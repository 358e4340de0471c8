"""Publish the model of a finished stage: a complete Hugging Face repository, in a directory or on the hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import r1kit
from r1kit import files
from r1kit.config import Recipe
from r1kit.console import heartbeat, say
from r1kit.errors import UserError
from r1kit.report.card.facts import facts_of
from r1kit.report.card.render import render_card
from r1kit.run.execute import model_directory
from r1kit.run.outputs.export import run_with_stage
from r1kit.run_dir import RunDir

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
WEIGHTS = (".safetensors", ".bin")
SHOWN = 5  # files that an error names


def publish_to_directory(run_dir: Path, stage: str, repository: str, target: Path, licence: str | None = None) -> Path:
    """Write the repository of a stage's model to a directory that does not exist or is empty. Return it.

    Raises:
        UserError: There is no such run or stage, it has made no model or not finished, or the directory is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--to {target}: exists already: give a new or empty directory")
    run, recipe = _opened(run_dir, stage, repository)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _write(run, recipe, stage, repository, temporary, licence)
    files.publish(temporary, target)
    return target


def publish_to_hub(
    run_dir: Path, stage: str, repository: str, *, private: bool, update: bool, licence: str | None = None
) -> str:
    """Upload the repository of a stage's model to the hub. Return its address.

    Args:
        run_dir: The directory of a run.
        stage: The name of a finished stage that makes a model.
        repository: ORG/NAME. It is created if it does not exist.
        private: Whether a new repository is private.
        update: Whether files of an existing repository may be replaced. Others in it always stay.
        licence: The licence of the model, an identifier of the hub.

    Raises:
        UserError: As `publish_to_directory`; there is no valid token, or the repository exists and has files.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    run, recipe = _opened(run_dir, stage, repository)
    api = HfApi(library_name="r1kit", library_version=r1kit.__version__)
    with _hub_errors(), tempfile.TemporaryDirectory(dir=run.path, prefix=".publish-") as folder:
        _require_login(api)
        _write(run, recipe, stage, repository, Path(folder), licence)
        if api.repo_exists(repository):
            if private and not api.repo_info(repository).private:
                raise UserError(f"--private: {repository} exists and is public: change that in its settings first")
            _require_free(api, repository, Path(folder), update)
        else:
            api.create_repo(repository, private=private)
        say(f"uploading {stage} of {run.path} to {repository}")
        message = f"{run.path.resolve().name}/{stage}, by r1kit {r1kit.__version__}"
        try:
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
        except HfHubHTTPError as error:
            error.add_note(f"{repository} may be incomplete: the same command with --update completes it")
            raise
    return f"{constants.ENDPOINT}/{repository}"


def _opened(run_dir: Path, stage: str, repository: str) -> tuple[RunDir, Recipe]:
    """Return the run and its recipe, if the stage can be published under this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    run, recipe = run_with_stage(run_dir, stage)
    config = recipe.stage[stage]
    if config.output != "model":
        makers = [name for name, each in recipe.stage.items() if each.output == "model"]
        raise UserError(f"{stage}: a stage of kind {config.kind} makes no model to publish; those that do: {makers}")
    if not run.stage(stage).is_finished:
        raise UserError(
            f"{stage}: not finished: run it to its end first. `r1kit export` writes a checkpoint before that"
        )
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"{repository}: no name of a repository: {error}") from None
    if "/" not in repository:
        raise UserError(f"{repository}: must be ORG/NAME, such as your-name/{repository}")
    return run, recipe


def _write(run: RunDir, recipe: Recipe, stage: str, repository: str, folder: Path, licence: str | None) -> None:
    """Write the checkpoint, the card, the recipe and the results of evaluations."""
    shutil.copytree(model_directory(stage, recipe, run), folder, copy_function=_copy, dirs_exist_ok=True)
    with heartbeat("writing the model card"):
        facts = facts_of(run.path, stage, repository)
        files.write_bytes(folder / CARD, render_card(facts, licence).encode("utf-8", "replace"))
    shutil.copyfile(run.recipe, folder / run.recipe.name)
    for name in facts.evals:
        (folder / "evals").mkdir(exist_ok=True)
        shutil.copyfile(run.stage(name).results, folder / "evals" / f"{name}.json")


def _copy(source: str, target: str) -> None:
    """Copy a file; weights are hard links, as nobody edits them."""
    copy = files.link_or_copy if source.endswith(WEIGHTS) else shutil.copy2
    copy(source, target)


def _require_login(api: HfApi) -> None:
    from huggingface_hub import get_token

    if get_token() is None:
        raise UserError("no token of the Hugging Face hub: run `hf auth login`, set HF_TOKEN, or write to a --to DIR")
    api.whoami()


def _require_free(api: HfApi, repository: str, folder: Path, update: bool) -> None:
    """Raise UserError if a repository has files, unless those of the same names may be replaced."""
    there = {name for name in api.list_repo_files(repository) if name != ".gitattributes"}
    ours = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if there and not update:
        listed = sorted(there & ours)[:SHOWN] or sorted(there)[:SHOWN]
        raise UserError(
            f"{repository} exists and has {len(there)} files, such as {', '.join(listed)}. With --update, "
            f"{len(there & ours)} of them are replaced and the others stay; or give another name"
        )


@contextmanager
def _hub_errors() -> Iterator[None]:
    """Raise errors of the hub and of the network as UserError."""
    from huggingface_hub.errors import HfHubHTTPError

    # Versions of huggingface_hub differ in the library that they send requests with.
    clients = [import_module(name) for name in ("httpx", "httpx2") if find_spec(name)]
    expected: tuple[type[Exception], ...] = (HfHubHTTPError, *(client.TransportError for client in clients))
    expected += (ConnectionError,)  # HF_HUB_OFFLINE is set
    try:
        yield
    except expected as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        notes = "".join(f". {note}" for note in getattr(error, "__notes__", []))
        raise UserError(f"the Hugging Face hub refuses or cannot be reached: {reason}{notes}") from error
