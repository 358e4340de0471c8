"""Random batches for the learner, and a plain implementation of its gradient that shares and splits nothing.

Shapes: B sequences, T completion tokens.
"""

from __future__ import annotations

import torch

from r1kit.config import RL
from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.kl import KLPenalty
from r1kit.learn.learner import Learner
from r1kit.learn.loss import OBJECTIVES, Clip, Norm, Terms
from r1kit.model.decoder import Decoder
from r1kit.types import Completion, TrainBatch

G = 4  # group size
TEMPERATURE = 0.8
PROMPT_LENGTHS = (3, 11, 1, 6)
LENGTHS = (5, 1, 12, 3, 2, 9, 9, 4, 1, 1, 1, 1, 14, 6, 2, 7)
TRUNCATED = {5, 9}  # rows that reached the completion cap
CAP = 16
Tensors = list[torch.Tensor]
WITHOUT_CRITIC = [name for name in OBJECTIVES if name != "ppo"]


def config(**changes: object) -> RL:
    """An RL config with small micro-batches and a clip that is not symmetric."""
    defaults = dict(objective="grpo", beta=0.05, epsilon=0.2, epsilon_high=0.3, max_completion_length=CAP, steps=20)
    settings = {**defaults, "micro_batch_tokens": 40, "prompts": ["world:arithmetic"], **changes}
    return RL(kind="rl", model="m", temperature=TEMPERATURE, **settings)


def random_batch(
    model: Decoder,
    old_noise: float = 0.3,
    mask_truncated: bool = True,
    lengths: tuple[int, ...] = LENGTHS,
    template: int = 0,
) -> TrainBatch:
    """A batch of `random_groups` with random rewards."""
    prompts, groups = random_groups(model, old_noise, lengths, template)
    rewards = torch.rand(len(prompts), G, generator=torch.Generator().manual_seed(4))
    return make_batch(
        prompts, groups, group_advantages(rewards), temperature=TEMPERATURE, mask_truncated=mask_truncated
    )


def random_groups(
    model: Decoder, old_noise: float = 0.3, lengths: tuple[int, ...] = LENGTHS, template: int = 0
) -> tuple[list[list[int]], list[list[Completion]]]:
    """Prompts that share their first `template` tokens, and groups of random completions.

    The old log-probabilities are the model's own plus noise.
    """
    generator = torch.Generator().manual_seed(5)
    vocabulary = model.config.vocab_size
    common, *rests = (
        torch.randint(1, vocabulary, (n,), generator=generator).tolist() for n in (template, *PROMPT_LENGTHS)
    )
    prompts = [common + rest for rest in rests]
    groups: list[list[Completion]] = [[] for _ in prompts]
    for row, length in enumerate(lengths):
        ids = torch.randint(1, vocabulary, (length,), generator=generator)
        with torch.no_grad():
            logp, _ = plain_logprobs(model, prompts[row // G], ids)
        old = logp + old_noise * torch.randn(length, generator=generator)
        reason = "length" if row in TRUNCATED else "stop"
        ids, old = tuple(ids.tolist()), tuple(old.tolist())
        groups[row // G].append(Completion(str(row // G), row % G, ids, old, "", reason))
    return prompts, groups


def plain_logprobs(model: Decoder, prompt: list[int], completion: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_T, entropy_T) from one forward pass over prompt and completion, with all logits at once."""
    row = torch.cat((torch.tensor(prompt), completion))
    logits = model.logits(model(row[None]))[0, len(prompt) - 1 : -1]
    all_logp = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    return all_logp[torch.arange(len(completion)), completion], -(all_logp.exp() * all_logp).sum(-1)


def plain_rows(model: Decoder, batch: TrainBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_BT, entropy_BT), zero outside the mask."""
    rows = []
    for b, mask in enumerate(batch.completion_mask_BT):
        prompt = batch.prompt_PL[b // G][batch.prompt_mask_PL[b // G]].tolist()
        values = plain_logprobs(model, prompt, batch.completion_BT[b][mask])
        rows.append([torch.nn.functional.pad(x, (0, len(mask) - len(x))) for x in values])
    logps, entropies = zip(*rows, strict=True)
    return torch.stack(logps), torch.stack(entropies)


def plain_terms(learner: Learner, batch: TrainBatch) -> tuple[Terms, torch.Tensor]:
    """What the objective reads, and the entropy [B, T]."""
    logp, entropy = plain_rows(learner.model, batch)
    ref = plain_rows(learner.reference, batch)[0].detach() if learner.reference else None
    return Terms(logp, batch.old_logp_BT, ref, batch.advantages_B[:, None], batch.trained_BT), entropy


def plain_gradient(learner: Learner, batch: TrainBatch) -> tuple[float, Tensors]:
    """Loss and gradient of a step without sharing and micro-batches."""
    terms, _ = plain_terms(learner, batch)
    settings = learner.config
    norm = Norm(int(batch.graded_B.sum()), int(batch.trained_BT.sum()), CAP)
    clip = Clip(settings.epsilon, settings.epsilon_high or settings.epsilon)
    loss = OBJECTIVES[settings.objective].loss(terms, clip, KLPenalty(settings.beta), norm)
    return loss.item(), list(torch.autograd.grad(loss, list(learner.model.parameters())))


def gradient(learner: Learner, batch: TrainBatch) -> tuple[dict[str, float], Tensors]:
    """The learner's own sums and gradient."""
    learner.model.zero_grad()
    sums = learner.backward(batch, CAP)
    return sums, [p.grad.clone() for p in learner.model.parameters()]


def relative_error(actual: Tensors, expected: Tensors) -> float:
    """The largest relative error of any parameter's gradient."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(actual, expected, strict=True))
