"""Generate with llama.cpp: all sequences in one batch a step, each with a cache of its own.

llama.cpp decodes at most 256 sequences together, so more take several rounds. A prompt is computed once, and its cache
is copied to all its sequences. Tokens are drawn by torch from llama.cpp's logits: its own samplers take one sequence at
a time.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np
import torch

BATCH = 4096  # tokens that are given to llama.cpp at a time


class LlamaCpp:
    """A model with room for at most 256 sequences of `length` tokens. Its cache is float16, the default."""

    def __init__(self, path: Path, sequences: int, length: int, threads: int) -> None:
        llama_cpp.llama_backend_init()
        self.sequences = min(sequences, llama_cpp.llama_max_parallel_sequences())
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = self.sequences * length, self.sequences
        settings.n_batch, settings.n_ubatch = BATCH, 512
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self.token, self.pos, self.wanted, self.owners = (
            np.ctypeslib.as_array(pointer, (BATCH,))
            for pointer in (self.batch.token, self.batch.pos, self.batch.logits, self.batch.n_seq_id)
        )

    def generate(self, prompts: list[list[int]], answers: int, tokens: int) -> int:
        """Sample `tokens` tokens for each of `answers` answers to every prompt. Return their number."""
        together = max(1, self.sequences // answers)
        return sum(self._round(prompts[i : i + together], answers, tokens) for i in range(0, len(prompts), together))

    def _round(self, prompts: list[list[int]], answers: int, tokens: int) -> int:
        llama_cpp.llama_memory_clear(self.memory, True)
        first = torch.cat([self._prompt(ids, i * answers) for i, ids in enumerate(prompts)])
        logits_NV, count = first.repeat_interleave(answers, 0), len(prompts) * answers
        for i in range(count):
            if i % answers:
                llama_cpp.llama_memory_seq_cp(self.memory, i - i % answers, i, -1, -1)
        positions_N = np.repeat([len(ids) for ids in prompts], answers)
        for step in range(tokens):
            token_N = torch.multinomial(torch.softmax(logits_NV, -1), 1)[:, 0].numpy()
            if step < tokens - 1:
                logits_NV = self._decode(token_N, positions_N + step, range(count), np.ones(count, np.int8))
        return count * tokens

    def _prompt(self, ids: list[int], sequence: int) -> torch.Tensor:
        """Return the logits behind a prompt [1, V]."""
        wanted_N = np.zeros(len(ids), np.int8)
        wanted_N[-1] = 1
        return self._decode(np.array(ids), np.arange(len(ids)), [sequence] * len(ids), wanted_N).clone()

    def _decode(self, token_N: np.ndarray, pos_N: np.ndarray, sequences, wanted_N: np.ndarray) -> torch.Tensor:
        """Return the logits [wanted, V]; the next call overwrites them."""
        count = self.batch.n_tokens = len(token_N)
        self.token[:count], self.pos[:count], self.wanted[:count], self.owners[:count] = token_N, pos_N, wanted_N, 1
        for i, sequence in enumerate(sequences):
            self.batch.seq_id[i][0] = sequence
        if code := llama_cpp.llama_decode(self.context, self.batch):
            raise RuntimeError(f"llama_decode returned {code}")
        shape = (int(wanted_N.sum()), self.vocabulary)
        pointer = ctypes.cast(llama_cpp.llama_get_logits(self.context), ctypes.POINTER(ctypes.c_float))
        return torch.from_numpy(np.ctypeslib.as_array(pointer, shape))
