"""Write a run directory like those of `r1kit run`, with plausible numbers and no training."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from r1kit.evals.metrics import ProblemResult, summarize

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & {{data}} \u2028"
)
REWARDS = ("accuracy", "format", "language")
PROTOCOL = {  # of the evaluations
    "template": "r1-zero",
    "system_prompt": "",
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 0,
    "samples": 4,
    "max_completion_length": 200,
    "graded_text": "after the last </think>",
    "extraction": "the complete text",
    "denominator": 160,
    "published_problems": None,
}


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def make_run(run: Path, steps: int = 120, rollout_every: int = 10, text: str = "") -> Path:
    """Write a finished run: pretrain, evaluate, rl, evaluate. All completions contain `text`."""
    rng = random.Random(0)
    run.mkdir(parents=True, exist_ok=True)
    plan = (
        ("base", 'kind = "pretrain"\nsteps = 300'),
        ("before", 'kind = "evaluate"\nmodel = "base"'),
        ("zero", f'kind = "rl"\nmodel = "base"\nsteps = {steps}'),
        ("after", 'kind = "evaluate"\nmodel = "zero"'),
    )
    recipe = 'name = "sprout-zero"\nseed = 0\n' + "".join(f"\n[stage.{name}]\n{keys}\n" for name, keys in plan)
    (run / "recipe.toml").write_text(recipe, encoding="utf-8")
    write_json(run / "lineage.json", {"version": "0.1.0", "machine": {"cpus": 2}})
    write_lines(
        run / "stages/base/metrics.jsonl",
        [
            {"step": s, "loss": 5 * math.exp(-s / 60) + 1 + rng.random() / 20, "tokens_per_second": 20_000}
            for s in range(1, 301)
        ],
    )
    write_lines(run / "stages/zero/metrics.jsonl", [rl_row(s, rng) for s in range(1, steps + 1)])
    for step in range(rollout_every, steps + 1, rollout_every):
        rows = rollout_rows(step, steps, rng, text)
        write_lines(run / f"stages/zero/rollouts/step_{step:06d}.jsonl", rows)
    for stage, skill in (("before", 0.1), ("after", 0.8)):
        write_evaluation(run / "stages" / stage / "data", stage, skill, rng, text)
    parents = {"base": {}, "before": {"base": "sha"}, "zero": {"base": "sha"}, "after": {"zero": "sha"}}
    kinds = {"base": "pretrain", "before": "evaluate", "zero": "rl", "after": "evaluate"}
    for name, kind in kinds.items():
        artifact = {"name": name, "kind": kind, "identity": "1234abcd", "config": {"kind": kind}}
        artifact |= {"parents": parents[name], "seconds": 61.0, "finished": "2030-01-01T00:00:00Z"}
        write_json(
            run / "stages" / name / "artifact.json", {**artifact, "summary": {"reward": 1.5} if kind == "rl" else {}}
        )
    return run


def rl_row(step: int, rng: random.Random) -> dict:
    progress = 1 - math.exp(-step / 40)
    row = {
        f"rewards/{name}/mean": min(1, progress * (0.8 + i / 10) + rng.gauss(0, 0.03)) for i, name in enumerate(REWARDS)
    }
    row |= {"step": step, "reward": sum(row.values()), "reward_std": 0.4 * (1 - progress) + 0.05, "kl": progress / 20}
    row |= {
        "completions/mean_length": 40 + 60 * progress,
        "completions/max_length": 200,
        "completions/clipped_ratio": 0.05,
    }
    row |= {
        "completions/reflective_words": progress / 2,
        "frac_reward_zero_std": 0.2 + progress / 3,
        "entropy": 1.2 - progress,
    }
    row |= {
        "completions/language/en": 0.9,
        "completions/other_language": 0.1,
        "groups": 32,
        "clip_ratio": 0.0,
        "loss": rng.gauss(0, 1e-3),
    }
    row |= {"grad_norm": 0.5 + rng.random(), "learning_rate": 4e-4 * (1 - step / 200), "tokens": step * 30_000}
    row |= {"sampling/logp_difference_mean": 1e-6, "sampling/logp_difference_max": 1e-5 * (1 + rng.random())}
    row |= {"time/rollout": 2.0, "time/grade": 0.1, "time/update": 1.0 + rng.random() / 5, "time/step": 3.3}
    if step % 10 == 0:
        row |= {
            "eval/arithmetic/pass@1": 0.8 * progress,
            "eval/arithmetic/cons@4": 0.9 * progress,
            "time/eval": 3.0,
            "time/step": 6.3,
            "time/save": 0.2,
        }
        row |= {"eval/arithmetic/format_rate": progress}
    return row


def answer_text(a: int, b: int, right: bool, rng: random.Random, extra: str) -> str:
    result = a + b if right else a + b + rng.randint(1, 9)
    check = f"wait, let me check: {b} + {a} = {result}\n" if rng.random() < 0.3 else ""
    return f"{a} + {b} = {result}\n{check}{extra}</think>\n<answer>{result}</answer>"


def rollout_rows(step: int, steps: int, rng: random.Random, text: str, prompts: int = 8, group: int = 8) -> list[dict]:
    rows = []
    for p in range(prompts):
        a, b, zh = rng.randint(10, 99), rng.randint(10, 99), p % 4 == 3
        question = f"{a} 加 {b} 等于多少?" if zh else f"What is {a} + {b}?"
        rewards = []
        for sample in range(group):
            right = rng.random() < 0.1 + 0.8 * step / steps
            rewards.append(1.0 + right)
            row = {
                "step": step,
                "prompt_id": f"p{step}-{p}",
                "sample": sample,
                "prompt": f"User: {question}\nAssistant: <think>",
            }
            row |= {
                "completion": answer_text(a, b, right, rng, text),
                "reward": 1.0 + right,
                "tokens": 40,
                "finish_reason": "stop",
            }
            row |= {"parts": {"accuracy": float(right), "format": 1.0}, "question": question, "answer": str(a + b)}
            row |= {"extracted": str(a + b) if right else None, "level": 1 + p % 3, "language": "zh" if zh else "en"}
            rows.append(row | {"family": "countdown" if p % 2 else "arithmetic"})
        mean = sum(rewards) / group
        for row in rows[-group:]:
            row["advantage"] = row["reward"] - mean
    return rows


def write_evaluation(data: Path, model: str, skill: float, rng: random.Random, text: str, samples: int = 4) -> None:
    results, rows = [], []
    for p in range(40):
        a, b = 10 + p, 20 + 3 * p
        correct = tuple(rng.random() < skill - 0.02 * (p % 5) for _ in range(samples))
        texts = [answer_text(a, b, right, rng, text) for right in correct]
        answers = tuple(t.split("<answer>")[1].split("</answer>")[0] for t in texts)
        about = {
            "level": 1 + p % 5,
            "family": "countdown" if p % 2 else "arithmetic",
            "language": "zh" if p % 4 == 3 else "en",
        }
        ok, cut = (True,) * samples, tuple(not right and p % 8 == 0 for right in correct)
        lengths = tuple(200 if is_cut else 30 + 5 * (p % 5) + 7 * i for i, is_cut in enumerate(cut))
        extracted = tuple(None if is_cut else answer for is_cut, answer in zip(cut, answers, strict=True))
        results.append(
            ProblemResult(
                f"q{p}",
                **about,
                correct=correct,
                answers=extracted,
                well_formed=ok,
                lengths=lengths,
                truncated=cut,
            )
        )
        for i in range(samples):
            row = {
                "benchmark": "held-out",
                "prompt_id": f"q{p}",
                "sample": i,
                "question": f"What is {a} + {b}?",
                "tokens": lengths[i],
                "truncated": cut[i],
                "reason": "right" if correct[i] else "cut off before an answer" if cut[i] else f"not {a + b}",
            }
            row |= {
                "answer": str(a + b),
                "completion": texts[i],
                "extracted": extracted[i],
                "correct": correct[i],
                "format": True,
            }
            rows.append(row | about)
    summary = summarize(results, samples) | {"protocol": PROTOCOL, "paper": {"pass@1": {"R1": 79.8, "R1-Zero": 77.9}}}
    write_json(data / "results.json", {"model": model, "benchmarks": {"held-out": summary}})
    write_lines(data / "samples.jsonl", rows)
