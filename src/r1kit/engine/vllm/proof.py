"""Log-probabilities that prove which weights vLLM generates with.

A version that vLLM reports says that an update was finished, not what it contained: vLLM finishes an empty update too.
So each push is checked three times: the names that were sent, the version, and log-probabilities of a few tokens that
vLLM and the learner compute for the same prompts. Before each update vLLM's weights are set to zero. Else an update as
small as those of training could be missing, and its effect on the log-probabilities be less than bfloat16's rounding.

Shapes: K probes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from r1kit.engine.vllm.errors import StaleWeights, WrongWeights
from r1kit.hashing import derive_seed
from r1kit.model.layers import project
from r1kit.model.policy import Policy

PROBES = 8
PROBE_TOKENS = (3, 19)  # shortest and longest probe
ANSWERS = 5  # likeliest tokens that vLLM reports for each probe
TEMPERATURE = 0.5  # not 1: a server that reports log-probabilities before temperature is found out
# Largest mean difference of log-probabilities between vLLM and the learner. Rounding makes 1e-6 in float32 on a CPU,
# and about 0.02 in bfloat16; the weights of another model make more than 1.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2}
CLOSER = 4.0  # times closer to the previous weights than to these: they were not replaced
UNIFORM = 1e-5  # largest spread of log-probabilities that are all the same: weights are zero


@dataclass(frozen=True, slots=True)
class Probes:
    """Prompts, and the learner's log-probabilities of the token behind each, at TEMPERATURE."""

    prompts: tuple[tuple[int, ...], ...]
    logp_KV: Tensor
    previous_KV: Tensor | None
    """The same under the weights of the previous push."""
    dtype: torch.dtype
    """That of the weights."""

    @property
    def is_repeated(self) -> bool:
        """Whether the previous push had the same weights, as far as the probes show."""
        return self.previous_KV is not None and torch.equal(self.logp_KV, self.previous_KV)

    def check(self, answers: Sequence[Mapping[int, float]], where: str) -> None:
        """Raise StaleWeights or WrongWeights unless vLLM's log-probabilities agree with the learner's.

        Args:
            answers: For each probe, vLLM's log-probabilities of some tokens.
            where: Where vLLM runs, for messages.
        """
        row = torch.tensor([k for k, answer in enumerate(answers) for _ in answer])
        token = torch.tensor([token for answer in answers for token in answer])
        theirs = torch.tensor([logp for answer in answers for logp in answer.values()])
        difference = float((theirs - self.logp_KV[row, token]).abs().mean())
        if self.previous_KV is not None:
            before = float((theirs - self.previous_KV[row, token]).abs().mean())
            if before * CLOSER < difference:
                raise StaleWeights(
                    f"{where}: vLLM still has the previous weights: its log-probabilities differ by {before:.1g} from "
                    f"theirs and by {difference:.1g} from those of the weights that were pushed"
                )
        if difference <= TOLERANCE[self.dtype]:
            return
        if float(theirs.max() - theirs.min()) < UNIFORM:
            raise StaleWeights(
                f"{where}: the update was not applied: vLLM's weights are still zero, as before each update"
            )
        raise WrongWeights(
            f"{where}: vLLM's log-probabilities differ by {difference:.2g} from the learner's on average; at most "
            f"{TOLERANCE[self.dtype]:g} is allowed. It must run the same model in the same dtype, with "
            "processed_logprobs and untied embeddings (docs/vllm.md)"
        )


class Prober:
    """Computes `Probes` of each version of a model."""

    def __init__(self, model: Policy) -> None:
        self.prompts = tuple(_prompts(model.config.vocab_size))
        self._logp_KV: Tensor | None = None  # of the previous version

    @torch.no_grad()
    def probe(self, model: Policy) -> Probes:
        """Return the learner's log-probabilities under its current weights."""
        tokens = [token for prompt in self.prompts for token in prompt]
        positions = [position for prompt in self.prompts for position in range(len(prompt))]
        lengths = [len(prompt) for prompt in self.prompts]
        tokens_T, positions_T = torch.tensor([tokens, positions], device=model.device)
        hidden_TD = model.packed(tokens_T, positions_T, lengths)
        last_K = torch.tensor(lengths).cumsum(0).to(model.device) - 1
        logits_KV = project(hidden_TD[last_K], model.head_weight, model.fp32_head).float()
        previous, self._logp_KV = self._logp_KV, (logits_KV / TEMPERATURE).log_softmax(-1).cpu()
        return Probes(self.prompts, self._logp_KV, previous, model.head_weight.dtype)


def _prompts(vocabulary: int) -> Iterator[tuple[int, ...]]:
    """Yield prompts of random tokens, the same for every model with this vocabulary."""
    generator = torch.Generator().manual_seed(derive_seed("probes"))
    shortest, longest = PROBE_TOKENS
    for k in range(PROBES):
        length = shortest + (longest - shortest) * k // (PROBES - 1)
        yield tuple(torch.randint(vocabulary, (length,), generator=generator).tolist())
