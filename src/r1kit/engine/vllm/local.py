"""vLLM in this process: one engine for each process that trains."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.console import heartbeat
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.batch import PartialCompletion
from r1kit.engine.vllm import loading
from r1kit.engine.vllm.errors import StaleWeights, check_loaded, check_names, check_version
from r1kit.engine.vllm.proof import Prober, Probes
from r1kit.engine.vllm.samples import PROBE, VllmEngine, check_lengths, places
from r1kit.engine.vllm.weights import served_config, served_names, served_weights
from r1kit.files import write_json
from r1kit.hashing import canonical_json
from r1kit.model.dtypes import dtype_name
from r1kit.model.policy import Policy
from r1kit.types import Completion

WHERE = "vLLM in this process"
KV_BLOCK = 128  # tokens, on a CPU; smaller on a GPU
BATCHED_TOKENS = 8192  # of prompts in one step, where prompts are not split
GPU_RESERVE = 2 << 30  # bytes for activations and CUDA graphs

_running: dict[bytes, Any] = {}  # at most one LLM, by its settings: starting one takes seconds
_group_count = 1_000_000  # of vLLM's process groups


class LocalVllm(VllmEngine):
    """Generates with an `LLM` that has a copy of the weights."""

    def __init__(
        self,
        model: Policy,
        tokenizer: PreTrainedTokenizerBase,
        max_concurrent: int,
        kv_cache_tokens: int | None,
        with_tokenizer: bool = False,
    ) -> None:
        """`with_tokenizer` gives vLLM the tokenizer, which only its structured outputs need."""
        super().__init__(model, tokenizer)
        self.vllm = import_module("vllm")
        self.llm = _llm(model, max_concurrent, kv_cache_tokens, tokenizer if with_tokenizer else None)
        self.max_model_len = int(self.llm.llm_engine.vllm_config.model_config.max_model_len)
        self.names, self.prober, self.vocabulary = served_names(model), Prober(model), len(model.head_weight)
        self.load_weights(model, 0)

    def load_weights(self, model: Policy, version: int) -> None:
        """See `Engine.load_weights`.

        Raises:
            PushError: vLLM does not have the weights afterwards.
        """
        probes = self.prober.probe(model)
        if version == self.version and probes.is_repeated:
            return
        self.llm.collective_rpc("reset_weights")  # to zeros: what the update does not replace shows in the probes
        sent: list[str] = []
        (missing,) = self.llm.collective_rpc(partial(loading.load_into_worker, weights=_noted(model, sent)))
        check_names(sent, self.names, WHERE)
        check_loaded(missing, WHERE)
        if not self.llm.reset_prefix_cache():
            raise StaleWeights(f"{WHERE}: the prefix cache of the previous weights was not cleared")
        self.llm.update_weight_version(str(version))
        check_version(self.llm.get_weight_version(), str(version), WHERE)
        self.version = version
        probes.check(self._answers(probes), WHERE)

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`."""
        check_lengths(requests, params, self.max_model_len, WHERE)
        kinds = import_module("vllm.sampling_params").RequestOutputKind
        kind = kinds.DELTA if params.stop else kinds.FINAL_ONLY  # stop strings are looked for after every token
        engine, running = self.llm.llm_engine, dict[str, PartialCompletion]()
        for index, sample in places(requests):
            request, name = requests[index], f"{index}/{sample}"
            running[name] = PartialCompletion(index, request.prompt_id, sample)
            asked = self.vllm.SamplingParams(**self.asked(request, sample, params), output_kind=kind)
            engine.add_request(name, {"prompt_token_ids": list(request.token_ids)}, asked)
        try:
            while running:
                for output in engine.step():
                    partial_completion = running.get(output.request_id)
                    if partial_completion is None:  # aborted
                        continue
                    stopped = self._extend(partial_completion, output.outputs[0], params)
                    if stopped and not output.finished:
                        engine.abort_request([output.request_id])
                    if stopped or output.finished:
                        del running[output.request_id]
                        yield partial_completion.request, self.completion(partial_completion)
        finally:
            engine.abort_request([*running])

    def _extend(self, partial_completion: PartialCompletion, output: Any, params: SamplingParams) -> bool:
        for span in output.weight_versions or ():
            check_version(span.version, str(self.version), WHERE)
        ids = list(output.token_ids)
        logprobs = [each[token].logprob for each, token in zip(output.logprobs or (), ids, strict=True)]
        return self.extend(partial_completion, ids, logprobs, params)

    def _answers(self, probes: Probes) -> list[Mapping[int, float]]:
        prompts = [{"prompt_token_ids": list(prompt)} for prompt in probes.prompts]
        outputs = self.llm.generate(prompts, self.vllm.SamplingParams(**PROBE), use_tqdm=False)
        return [{token: x.logprob for token, x in output.outputs[0].logprobs[0].items()} for output in outputs]


def _noted(model: Policy, sent: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of a model, and note their names."""
    for name, weight in served_weights(model):
        sent.append(name)
        yield name, weight


def _llm(
    model: Policy, max_concurrent: int, kv_cache_tokens: int | None, tokenizer: PreTrainedTokenizerBase | None
) -> Any:
    """Return an LLM without weights: the running one if it has the same settings, else a new one in its place."""
    on_cpu, config = model.device.type == "cpu", model.config
    length = config.max_position_embeddings
    length = min(length, kv_cache_tokens or length)
    tokens = min(kv_cache_tokens or max_concurrent * length, max_concurrent * length)
    token_bytes = config.num_hidden_layers * config.served_cache_width * model.head_weight.dtype.itemsize
    settings: dict[str, Any] = {
        "dtype": dtype_name(model.head_weight.dtype),
        "max_model_len": length,
        "max_num_seqs": max_concurrent,
        "kv_cache_memory_bytes": (tokens + 2 * KV_BLOCK) * token_bytes,
        "skip_tokenizer_init": tokenizer is None,
        "load_format": "dummy",
        "logprobs_mode": "processed_logprobs",  # after temperature, as the learner computes them
        "generation_config": "vllm",  # none of the model's own sampling parameters
        "disable_log_stats": True,
    }
    if tokenizer is not None:  # compact JSON: with a free hand, a model may write whitespace forever
        settings["structured_outputs_config"] = {"backend": "guidance", "disable_any_whitespace": True}
    if on_cpu:  # seeded sampling there fails with prompts that are split
        settings |= {"enforce_eager": True, "enable_chunked_prefill": False}
        settings["max_num_batched_tokens"] = max(BATCHED_TOKENS, length)
    else:
        needed = settings["kv_cache_memory_bytes"] + config.parameter_count() * model.head_weight.dtype.itemsize
        total = torch.cuda.get_device_properties(model.device).total_memory
        settings["gpu_memory_utilization"] = min(0.95, (needed + GPU_RESERVE) / total)
    described = served_config(model)
    key = canonical_json([described, settings])
    if key not in _running:
        with _apart():
            for old in _running.values():
                old.llm_engine.engine_core.shutdown()
        _running.clear()
        with heartbeat("starting vLLM"):
            settings["distributed_executor_backend"] = _executor(model.device)
            _running[key] = _start(described, settings, tokenizer)
    return _running[key]


def _start(config: Mapping[str, Any], settings: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase | None) -> Any:
    """Start an LLM in this process."""
    os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"})
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with _apart(), tempfile.TemporaryDirectory(prefix="r1kit-vllm-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about vLLM's own code
        write_json(Path(folder) / "config.json", dict(config))
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        _let_vllm_start_beside_numba()
        return import_module("vllm").LLM(model=folder, **settings)


def _let_vllm_start_beside_numba() -> None:
    """Give llvmlite's library, which numba loads, what vLLM looks for in it.

    On a CPU, vLLM 0.32 searches the `__dict__` of all that modules hold for its kernels; that of the library is none.
    """
    if (ffi := sys.modules.get("llvmlite.binding.ffi")) is not None:
        ffi._lib_fn_wrapper.get = lambda *_: None


def _executor(device: torch.device) -> Any:
    """Return the class that runs vLLM's worker in this process, on this device. vLLM itself takes the first GPU."""
    base: Any = import_module("vllm.v1.executor.uniproc_executor").UniProcExecutor

    class Executor(base):  # type: ignore[misc]
        def _distributed_args(self) -> tuple[str, int, int]:
            method, rank, local_rank = super()._distributed_args()
            return method, rank, device.index or local_rank

    return Executor


@contextmanager
def _apart() -> Iterator[None]:
    """Start or stop vLLM in the block, and restore PyTorch's global state for the learner.

    vLLM sees no process group in the block, so it makes its own. In that of the learner it would start only when all
    processes start it, and when it stops it would end the group. Groups are named by a counter, which must be the same
    in all processes of the learner, so those of vLLM are counted apart.
    """
    global _group_count
    set_threads, threads = torch.set_num_threads, torch.get_num_threads()
    groups = dist.distributed_c10d._world
    ours, count = dist.group.WORLD, groups.group_count
    dist.group.WORLD, groups.group_count = None, _group_count
    try:
        yield
    finally:
        _group_count = groups.group_count
        dist.group.WORLD, groups.group_count = ours, count
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
