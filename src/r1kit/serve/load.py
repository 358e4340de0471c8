"""Load the models that a server is started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from r1kit import data
from r1kit.config import Template
from r1kit.console import heartbeat, say
from r1kit.data.template import use_chat_template
from r1kit.engine.base import EngineChoice
from r1kit.engine.factory import make_live_engine
from r1kit.errors import UserError
from r1kit.machine import choose_compute
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.reference import resolve_model
from r1kit.serve.limits import Limits
from r1kit.serve.model import ServedModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


CHAT_TEMPLATES = Path(data.__file__).parent / "chat_templates"


def parse_names(given: Sequence[str]) -> dict[str, str]:
    """Return name -> model reference for arguments MODEL or NAME=MODEL.

    Raises:
        UserError: A name is empty or occurs twice.
    """
    references: dict[str, str] = {}
    for each in given:
        name, sign, reference = each.partition("=")
        if not sign or Path(each).exists():
            name = reference = each
        if not name or not reference:
            raise UserError(f"{each}: must be MODEL or NAME=MODEL")
        if name in references:
            raise UserError(f"{name}: two models of this name; give one another name: NAME={reference}")
        references[name] = reference
    return references


def parse_template(name: str | None) -> Template | None:
    """Return a template by name; None stays None. UserError for an unknown one."""
    if name is not None and name not in get_args(Template):
        raise UserError(f"--template {name}: must be one of {', '.join(get_args(Template))}")
    return cast("Template | None", name)


def read_chat_template(given: str | None) -> str | None:
    """Return the text of a chat template: a bundled one by name, or a file. None stays None; UserError if none is."""
    if given is None:
        return None
    bundled = CHAT_TEMPLATES / f"{given}.jinja"
    try:
        return (bundled if bundled.is_file() else Path(given)).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        names = ", ".join(path.stem for path in CHAT_TEMPLATES.glob("*.jinja"))
        raise UserError(f"--chat-template {given}: {error}; give {names} or a file") from None


def engine_choice(given: str) -> EngineChoice:
    """Return the choice that `--engine` stands for: a name, or URLs of vLLM servers with commas between them."""
    if "://" in given:
        return EngineChoice("servers", tuple(url.rstrip("/") for url in given.split(",")))
    if given not in ("native", "vllm"):
        raise UserError(
            f"--engine {given}: must be native, vllm, or URLs of vLLM servers such as http://127.0.0.1:8001"
        )
    return EngineChoice(given)


def load_models(
    references: Mapping[str, str],
    template: Template | None,
    choice: EngineChoice,
    limits: Limits,
    chat_template: str | None = None,
) -> list[ServedModel]:
    """Load every model.

    Args:
        references: Name -> model reference.
        template: The prompt template of all; by default each tokenizer's chat template, or r1-zero without one.
        choice: The engine.
        limits: How many completions are decoded at the same time.
        chat_template: The text of a chat template for all, in place of each tokenizer's own.

    Raises:
        UserError: A model does not exist or cannot be loaded.
    """
    if chat_template is not None and template not in (None, "chat"):
        raise UserError(f"--template {template}: must be chat, or absent, beside --chat-template")
    # In a thread that ends: were it this one, its OpenMP threads would stay. libgomp would then count more threads than
    # there are cores, and let those of the engine sleep between products instead of spinning: a third slower.
    with ThreadPoolExecutor(1) as loader:
        return loader.submit(_load_models, references, template, choice, limits, chat_template).result()


def _load_models(
    references: Mapping[str, str],
    template: Template | None,
    choice: EngineChoice,
    limits: Limits,
    chat_template: str | None,
) -> list[ServedModel]:
    compute = choose_compute()
    models = []
    for name, reference in references.items():
        with heartbeat(f"loading {name}"):
            directory = resolve_model(reference)
            tokenizer = load_tokenizer(directory)
            tokenizer.chat_template = chat_template or tokenizer.chat_template
            if template is not None:
                use_chat_template(tokenizer, template)
            policy = load_model(directory, torch_dtype(compute.dtype), compute.device)
            engine = make_live_engine(policy, tokenizer, limits.max_concurrent, choice=choice)
        models.append(ServedModel(name, tokenizer, _template(name, template, tokenizer), engine))
    return models


def _template(name: str, given: Template | None, tokenizer: PreTrainedTokenizerBase) -> Template:
    has_one = bool(getattr(tokenizer, "chat_template", None))
    if given is None and not has_one:
        say(f"{name}: no chat template, so questions are put into R1-Zero's prompt (--template r1-zero)")
    return given or ("chat" if has_one else "r1-zero")
