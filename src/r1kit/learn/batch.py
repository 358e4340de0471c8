"""Turn completions into tensors, and choose the rows that a rank and a micro-batch compute; see `learn.step.passes`.

Shapes as in `types.TrainBatch`: P prompts, G group size, B = P * G sequences, L longest prompt, T longest completion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r1kit.learn.world import World
from r1kit.types import Completion, TrainBatch

MIN_FILL = 0.8  # a micro-batch of some size: shortest / longest row is at least this
MIN_PASS_TOKENS = 1024  # smaller micro-batches cost more than padding does


def make_batch(
    prompts: Sequence[Sequence[int]],
    groups: Sequence[Sequence[Completion]],
    advantages_PG: Tensor,
    *,
    temperature: float,
    mask_truncated: bool,
    device: torch.device | str = "cpu",
    graded_PG: Tensor | None = None,
    rewards_PG: Tensor | None = None,
    values: Sequence[Tensor] = (),
) -> TrainBatch:
    """Pad prompts and completions on the right.

    `mask_truncated` excludes truncated completions from the loss. Completions with `graded_PG` False (none by default)
    are excluded from the loss and from its normaliser. So are tokens that an environment wrote. PPO needs `rewards_PG`,
    and `values` of every token of every completion.
    """
    completions = [completion for group in groups for completion in group]
    completion_BT, completion_mask_BT = _pad([c.token_ids for c in completions], torch.long)
    old_logp_BT, _ = _pad([c.logprobs for c in completions], torch.float32)
    if mask_truncated:
        completion_mask_BT &= torch.tensor([c.finish_reason == "stop" for c in completions])[:, None]
    graded_B = torch.ones(len(completions), dtype=torch.bool) if graded_PG is None else graded_PG.flatten()
    completion_mask_BT &= graded_B[:, None]
    prompt_PL, prompt_mask_PL = _pad(prompts, torch.long)
    sampled_BT = _pad([c.sampled for c in completions], torch.bool)[0] if any(c.spans for c in completions) else None
    content_BT = completion_BT.where(completion_mask_BT, -1)
    if sampled_BT is not None:  # equal tokens by different authors have different gradients
        content_BT = torch.cat((content_BT, sampled_BT), dim=1)
    return TrainBatch(
        prompt_PL=prompt_PL.to(device),
        prompt_mask_PL=prompt_mask_PL.to(device),
        completion_BT=completion_BT.to(device),
        completion_mask_BT=completion_mask_BT.to(device),
        old_logp_BT=old_logp_BT.to(device),
        advantages_B=advantages_PG.flatten().to(device=device, dtype=torch.float32),
        graded_B=graded_B.to(device),
        duplicate_of_B=_first_equal(content_BT, len(completions) // len(prompts)).to(device),
        temperature=temperature,
        sampled_BT=None if sampled_BT is None else sampled_BT.to(device),
        rewards_B=None if rewards_PG is None else rewards_PG.flatten().to(device=device, dtype=torch.float32),
        values_BT=pad_sequence([*values], batch_first=True).to(device) if values else None,
    )


def _pad(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    padded = torch.zeros(len(rows), max(map(len, rows)), dtype=dtype)
    mask = torch.zeros(padded.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row, dtype=dtype)
        mask[i, : len(row)] = True
    return padded, mask


def _first_equal(content_BX: Tensor, group: int) -> Tensor:
    """Return [B]: the first row with the same prompt and the same content."""
    rows_B = torch.arange(len(content_BX))
    content = torch.cat((rows_B[:, None] // group, content_BX), dim=1)
    _, class_B = torch.unique(content, dim=0, return_inverse=True)
    return rows_B.scatter_reduce(0, class_B, rows_B, "amin", include_self=False)[class_B]


def rows_of_rank(batch: TrainBatch, skip_zero_variance: bool, world: World) -> Tensor:
    """Return True [B] for the sequences that this rank computes: complete groups, if there are enough for all ranks."""
    if world.size == 1:
        return torch.ones_like(batch.graded_B)
    prompts = len(batch.prompt_PL)
    group = len(batch.advantages_B) // prompts
    selected_P = _selected(batch, skip_zero_variance)
    distinct_B = batch.duplicate_of_B == torch.arange(prompts * group, device=batch.duplicate_of_B.device)
    cost_B = (batch.completion_mask_BT.sum(1) * distinct_B).clamp(min=1)
    if int(selected_P.sum()) >= world.size:
        units, costs = selected_P, cost_B.view(prompts, group).sum(1) + batch.prompt_mask_PL.sum(1)
    else:
        units, costs, group = selected_P.repeat_interleave(group) & distinct_B, cost_B, 1
    index = units.nonzero().squeeze(1)
    mine = torch.zeros_like(units)
    mine[index[world.share(costs[index].tolist())]] = True
    return mine.repeat_interleave(group)


def _selected(batch: TrainBatch, skip_zero_variance: bool) -> Tensor:
    """Return True [P] for the groups to train on.

    `skip_zero_variance` leaves out groups whose advantages are all zero, unless every group is one of these.
    """
    varies_P = batch.advantages_B.view(len(batch.prompt_PL), -1).any(1)
    return varies_P if skip_zero_variance and varies_P.any() else torch.ones_like(varies_P)


def prompt_blocks(
    batch: TrainBatch, micro_batch_tokens: int, skip_zero_variance: bool, rows_B: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield runs of prompt indices whose padded tokens fit, at least one prompt each.

    `skip_zero_variance` leaves out groups whose advantages are all zero, unless every group is one of these. With
    `rows_B`, prompts without a sequence among them are left out.
    """
    prompts, length = batch.prompt_PL.shape
    selected_P = _selected(batch, skip_zero_variance)
    if rows_B is not None:
        selected_P = selected_P & rows_B.view(prompts, -1).any(1)
    selected = selected_P.nonzero().squeeze(1)
    if len(selected):
        yield from torch.split(selected, max(1, micro_batch_tokens // length))


def micro_batches(lengths_B: Tensor, micro_batch_tokens: int) -> Iterator[Tensor]:
    """Yield runs of sequence indices of similar length whose padded tokens fit, longest first, at least one each.

    A run also ends where padding would exceed 1 - MIN_FILL of a row, unless the run is still below MIN_PASS_TOKENS.
    """
    order = torch.argsort(lengths_B, descending=True, stable=True)
    lengths = lengths_B[order].clamp(min=1).tolist()
    start = 0
    while start < len(order):
        longest, end = lengths[start], start + 1
        while end < len(order) and (end + 1 - start) * longest <= micro_batch_tokens:
            if lengths[end] < MIN_FILL * longest and (end - start) * longest >= MIN_PASS_TOKENS:
                break
            end += 1
        yield order[start:end]
        start = end
