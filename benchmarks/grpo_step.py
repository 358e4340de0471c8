"""Compare the time and memory of a GRPO step in TRL's GRPOTrainer and r1kit, on the same work.

make bench NAME=grpo_step

The work is 32 prompts x 16 completions x 128 tokens with a 3.2M-parameter Qwen2 of random weights and KL coefficient
0.001: generation, rewards, log-probabilities of the reference model, gradients, AdamW. Both run in fp32 and bf16, and
the faster one counts. r1kit grades by rule (accuracy, format, language); TRL has a trivial reward. First, the two must
agree on the loss and gradient of one batch in fp32.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compare import (
    TRL_OPTIONS,
    Turns,
    alternate,
    arguments,
    best,
    field,
    finish,
    medians,
    say,
    table,
    without_vllm,
    worker,
)  # fmt: skip
from models import prepare, prompt_texts

NAMES = ("r1kit, float32", "r1kit, bfloat16", "TRL, float32", "TRL, bfloat16")
BETA, RATE = 0.001, 1e-5
PROMPTS = 256
SAME_PROMPTS = 4  # in the batch of `same_work`, which TRL must fit into one pass
TOLERANCE = 1e-4  # relative, in fp32: sums over 65,536 tokens in a different order


@dataclass(frozen=True)
class Size:
    prompts: int
    answers: int
    tokens: int
    trl_batch: int = 64  # completions per pass in TRL


FULL, QUICK = Size(32, 16, 128), Size(4, 4, 16)


def rl_config(size: Size) -> Any:
    from r1kit.config import RL
    from r1kit.metrics.watchdogs import WATCHDOGS

    return RL(
        kind="rl",
        model="policy",
        prompts=["world:arithmetic"],
        rewards={"accuracy": 1.0, "format": 1.0, "language": 1.0},
        prompts_per_step=size.prompts,
        num_generations=size.answers,
        max_completion_length=size.tokens,
        steps_per_rollout=1,
        beta=BETA,
        learning_rate=RATE,
        watchdogs=dict.fromkeys(WATCHDOGS, "off"),  # random weights earn no reward
    )


def make_trainer(model: Path, directory: Path, config: Any, dtype: str) -> Any:
    """Return the trainer of r1kit's RL stage."""
    from r1kit.stages.context import StageContext
    from r1kit.stages.rl import Trainer

    models = {"policy": model}
    return Trainer(config, StageContext("step", directory, 0, dtype, "cpu", 512, models))


def ours(model: Path, size: Size, dtype: str) -> None:
    turns = Turns()
    with TemporaryDirectory() as directory:
        trainer = make_trainer(model, Path(directory), rl_config(size), dtype)
        while True:
            row = trainer.advance()
            turns.done(**{name: row[f"time/{name}"] for name in ("step", "rollout", "grade", "update")})


def trl_trainer(model: Path, size: Size, callbacks: list, scratch: Path, dtype: str = "float32") -> Any:
    """Return TRL's trainer as in its documentation, without gradient checkpointing and logs, which cost time."""
    without_vllm()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from r1kit.model.hf import load_tokenizer

    answers = size.prompts * size.answers
    batch = min(size.trl_batch, answers)
    tokenizer = load_tokenizer(model)
    config = GRPOConfig(
        output_dir=str(scratch),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=answers // batch,
        num_generations=size.answers,
        max_completion_length=size.tokens,
        beta=BETA,
        loss_type="grpo",
        use_bias_correction_kl=False,  # TRL's addition to the KL penalty
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_steps=10**6,
        bf16=dtype == "bfloat16",
        **TRL_OPTIONS,
    )
    return GRPOTrainer(
        model=str(model),
        reward_funcs=lambda completions, **_: [len(set(text)) / max(1, len(text)) for text in completions],
        args=config,
        train_dataset=Dataset.from_list([{"prompt": text} for text in prompt_texts(PROMPTS, tokenizer)]),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def trl(model: Path, size: Size, dtype: str) -> None:
    from transformers import TrainerCallback

    turns, spent = Turns(), {"rollout": 0.0, "grade": 0.0}

    class Paced(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start, spent["rollout"], spent["grade"] = time.monotonic(), 0.0, 0.0

        def on_step_end(self, *_: Any, **__: Any) -> None:
            step = time.monotonic() - self.start
            turns.done(step=step, **spent, update=step - sum(spent.values()))

    trainer = trl_trainer(model, size, [Paced()], model.parent / "trl", dtype)
    trainer._generate_single_turn = _timed(trainer._generate_single_turn, spent, "rollout")
    trainer._calculate_rewards = _timed(trainer._calculate_rewards, spent, "grade")
    trainer.train()


def _timed(function: Any, spent: dict[str, float], name: str) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.monotonic()
        result = function(*args, **kwargs)
        spent[name] += time.monotonic() - start
        return result

    return run


def same_work(model: Path, size: Size) -> None:
    """Report the loss and gradient norm of one batch in both.

    Completions differ in length, and the old policy and the reference model differ from the policy.
    """
    import torch

    from r1kit.learn.batch import make_batch
    from r1kit.learn.learner import Learner
    from r1kit.model.hf import load_model, load_tokenizer
    from r1kit.types import Completion

    size = replace(size, prompts=min(size.prompts, SAME_PROMPTS))
    torch.manual_seed(0)
    turns = Turns()
    policy, tokenizer = load_model(model, torch.float32, "cpu"), load_tokenizer(model)
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in prompt_texts(size.prompts, tokenizer)]
    groups = []
    for i in range(size.prompts):
        lengths = torch.randint(1, size.tokens + 1, (size.answers,)).tolist()
        ids = [tuple(torch.randint(1, policy.config.vocab_size, (n,)).tolist()) for n in lengths]
        old = [tuple((torch.randn(len(x)) * 0.1 - 6.6).tolist()) for x in ids]
        groups.append(
            [Completion(str(i), s, x, o, "", "length") for s, (x, o) in enumerate(zip(ids, old, strict=True))]
        )
    advantages_PG = torch.randn(size.prompts, size.answers)
    batch = make_batch(prompts, groups, advantages_PG, temperature=1.0, mask_truncated=False)
    learner = Learner(policy, rl_config(size))
    noise = [torch.randn_like(p) * 0.02 for p in policy.parameters()]
    with torch.no_grad():
        for p, extra in zip(learner.reference.parameters(), noise, strict=True):
            p += extra
    loss = learner.backward(batch, size.tokens)["loss"]
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in learner.master.parameters()]))
    turns.done(ours_loss=loss, ours_norm=norm, **_trl_loss(model, size, batch, learner.reference))


def _trl_loss(model: Path, size: Size, batch: Any, reference: Any) -> dict[str, float]:
    import torch

    from r1kit.model.hf import save_model

    trainer = trl_trainer(model, size, [], model.parent / "trl")
    save_model(reference, None, model.parent / "reference")
    trainer.ref_model = trainer.ref_model.__class__.from_pretrained(model.parent / "reference")
    trainer.current_gradient_accumulation_steps = 1
    # TRL pads prompts on the left.
    width, lengths_P = batch.prompt_PL.shape[1], batch.prompt_mask_PL.sum(1)
    prompt_PL = torch.stack([row.roll(width - int(n)) for row, n in zip(batch.prompt_PL, lengths_P, strict=True)])
    mask_PL = torch.arange(width) >= width - lengths_P[:, None]
    inputs = {
        "prompt_ids": prompt_PL.repeat_interleave(size.answers, 0),
        "prompt_mask": mask_PL.repeat_interleave(size.answers, 0).long(),
        "completion_ids": batch.completion_BT,
        "completion_mask": batch.completion_mask_BT.long(),
        "advantages": batch.advantages_B,
        "old_per_token_logps": batch.old_logp_BT,
    }
    with torch.no_grad():
        inputs["ref_per_token_logps"] = _reference_logps(trainer, inputs, size.trl_batch)
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.model.parameters() if p.grad is not None])
    return {"trl_loss": float(loss), "trl_norm": float(norm)}


def _reference_logps(trainer: Any, inputs: dict[str, Any], rows_a_pass: int) -> Any:
    """Compute them with plain transformers, as an independent check."""
    import torch

    ids = torch.cat((inputs["prompt_ids"], inputs["completion_ids"]), dim=1)
    mask = torch.cat((inputs["prompt_mask"], inputs["completion_mask"]), dim=1)
    kept, rows = inputs["completion_ids"].shape[1], []
    for some, seen in zip(ids.split(rows_a_pass), mask.split(rows_a_pass), strict=True):
        logits = trainer.ref_model(input_ids=some, attention_mask=seen, logits_to_keep=kept + 1).logits[:, :-1]
        rows.append(logits.log_softmax(-1).gather(-1, some[:, -kept:, None]).squeeze(-1))
    return torch.cat(rows)


def check(model: Path, options: list[str]) -> dict[str, float]:
    """Run `same_work`; SystemExit if the two disagree."""
    with worker(__file__, "check", "--model", str(model), *options) as checker:
        results = checker.first
    for name in ("loss", "norm"):
        gap = abs(results[f"ours_{name}"] - results[f"trl_{name}"])
        if gap > TOLERANCE * abs(results[f"trl_{name}"]):
            raise SystemExit(f"loss or gradient differ: {results}")
    say(f"same batch, same loss and gradient: {results}")
    return results


def contend(model: Path, repeats: int, options: list[str]) -> dict[str, dict[str, float]]:
    """Return the medians of each contender."""
    with field(__file__, NAMES, "--model", str(model), *options) as started:
        return {name: medians(turns) for name, turns in alternate(started, repeats).items()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--trl-batch", type=int, default=FULL.trl_batch, help="completions per pass in TRL")
    args = parser.parse_args()
    size = replace(QUICK if args.quick else FULL, trl_batch=args.trl_batch)
    options = ["--trl-batch", str(args.trl_batch), *(["--quick"] if args.quick else [])]
    if args.worker == "check":
        return same_work(args.model, size)
    if args.worker:
        who, _, dtype = args.worker.partition(", ")
        return {"r1kit": ours, "TRL": trl}[who](args.model, size, dtype)
    with TemporaryDirectory() as directory:
        model = prepare("3.2M", Path(directory))
        agreed = check(model, options)
        results = contend(model, 1 if args.quick else args.repeats, options)
    phases = ("step", "rollout", "grade", "update")
    rows = [[name, *(one[phase] for phase in phases), one["peak_bytes"] / 1e6] for name, one in results.items()]
    (my_name, mine), (peer_name, peer) = (best(results, who, "step", min) for who in ("r1kit", "TRL"))
    ratios = [peer[key] / mine[key] for key in (*phases, "peak_bytes")]
    ratios[2] = "-"  # TRL's reward is trivial
    page = table(["seconds", *phases, "peak MB"], [*rows, [f"{peer_name} / {my_name}", *ratios]])
    page += (
        f"\n\nOn the same batch: loss {agreed['ours_loss']:.6f} (r1kit), {agreed['trl_loss']:.6f} (TRL); "
        f"gradient norm {agreed['ours_norm']:.6f} and {agreed['trl_norm']:.6f}."
    )
    finish(
        "grpo_step", mine["step"], peer["step"], "s per step", page, {**results, "same_batch": agreed}, args.quick,
        more_is_better=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
