"""Compare GRPO with PPO (lambda 1 and 0.95) on sprout-zero: accuracy, memory and time, at equal samples.

python benchmarks/ppo.py --seeds 0 1 2 --steps 40 --trial-steps 25
python benchmarks/ppo.py --seeds 0 --steps 3 --rates 4e-4 --factors 1 --runs runs/trial     (a trial of some minutes)

First every method tries its learning rates on a seed that is not used again: GRPO those of the policy, PPO each of them
with critics of the same and of a larger rate. The reward of training problems in the last fifth of the steps chooses;
held-out problems choose nothing. All trials are printed. Then each method runs with its choice on all seeds. PPO's
accuracy minus GRPO's is paired by problem, with a 95 % interval over problems and seeds.

GRPO leaves groups with equal rewards out of its updates, as sprout-zero does; to PPO these groups matter, so it trains
on all. The completions that both sample are equally many. The same command again continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from machine import describe, today
from sprout_zero import PHASES, ROOT, VALUES, Result, log_of, table, train, write_recipe

from r1kit.evals.paired import pool
from r1kit.metrics.log import read_metrics
from r1kit.model.reference import local_model
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.plan.memory import Setting, memory
from r1kit.plan.outline import read_shape
from r1kit.recipe import load_recipe
from r1kit.report.collect import problem_values

METHODS: Mapping[str, Sequence[str]] = {  # name -> keys of the stage
    "GRPO": (),
    "PPO-1": ("objective=ppo", "gae_lambda=1", "skip_zero_variance=false"),
    "PPO-0.95": ("objective=ppo", "gae_lambda=0.95", "skip_zero_variance=false"),
}
SWEEP_SEED = 100
LARGE = "Qwen/Qwen2.5-1.5B"  # a model of useful size, whose memory is planned and not measured
CRITIC_METRICS = ("critic/explained_variance", "critic/loss")


@dataclass(frozen=True)
class Rates:
    """Learning rates of a run."""

    policy: float
    factor: float | None  # of the critic, over the policy's; None without one

    @property
    def keys(self) -> list[str]:
        critic = [] if self.factor is None else [f"critic.learning_rate={self.factor * self.policy:g}"]
        return [f"learning_rate={self.policy:g}", *critic]

    def __str__(self) -> str:
        return f"{self.policy:g}" if self.factor is None else f"{self.policy:g}, critic {self.factor * self.policy:g}"


@dataclass(frozen=True)
class Bench:
    """Where runs are, and what they have in common."""

    runs: Path
    steps: int | None
    threads: int

    def directory(self, method: str, rates: Rates, seed: int) -> Path:
        return self.runs / "-".join((method.lower(), *(key.partition("=")[2] for key in rates.keys), f"seed{seed}"))

    def run(self, method: str, rates: Rates, seed: int) -> Result:
        keys = [*METHODS[method], *rates.keys, *([f"steps={self.steps}"] if self.steps else [])]
        changes = [f"stage.zero.{key}" for key in keys]
        return train(self.directory(method, rates, seed), seed, changes, self.threads)

    def last_reward(self, method: str, rates: Rates, seed: int) -> float:
        """Return the mean reward of training problems in the last fifth of the steps."""
        rewards = [row["reward"] for row in read_metrics(log_of(self.directory(method, rates, seed)))]
        return fmean(rewards[-max(1, len(rewards) // 5) :])

    def problems(self, method: str, rates: Rates, seed: int) -> dict[str, float]:
        """Return held-out problem -> pass@1."""
        file = self.directory(method, rates, seed) / "stages/zero_eval/data/problems.jsonl"
        rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        return problem_values(rows, "sprout", "pass@1", {})


def sweep(bench: Bench, method: str, rates: Sequence[float], factors: Sequence[float]) -> tuple[Rates, list[list[str]]]:
    """Try all learning rates of a method. Return the best, and a row of the table for each."""
    settings = [Rates(rate, None) for rate in rates]
    if method != "GRPO":
        settings = [Rates(rate, factor) for rate in rates for factor in factors]
    rewards = {}
    for setting in settings:
        bench.run(method, setting, SWEEP_SEED)
        rewards[setting] = bench.last_reward(method, setting, SWEEP_SEED)
    best = max(rewards, key=rewards.__getitem__)
    rows = [[method, str(s), f"{r:.3f}", "chosen" if s == best else ""] for s, r in rewards.items()]
    return best, rows


def planned(method: str) -> list[str]:
    """Return a row: trained parameters of sprout-base, and the peak that is planned for a model of useful size."""
    zero = load_recipe("sprout-zero", [f"stage.zero.{key}" for key in METHODS[method]]).stage["zero"]
    small = read_shape(local_model("sprout-base"))
    here = memory(zero, small, Setting("cpu", "float32", 512))
    large = memory(zero, KNOWN_SHAPES[LARGE], Setting("cuda", "bfloat16", 512))
    states = sum(
        large.get(part, 0) for part in ("weights", "master", "optimizer", "gradients", "critic", "critic_state")
    )
    return [method, f"{here['optimizer'] / 8e6 + here.get('critic_state', 0) / 12e6:.2f}M", f"{states / 1e9:.1f}"]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def compare(bench: Bench, chosen: Mapping[str, Rates], seeds: Sequence[int]) -> dict[str, dict[str, object]]:
    """Run every method on all seeds, print accuracy, time and memory, and return the differences from GRPO."""
    results = {method: [bench.run(method, rates, seed) for seed in seeds] for method, rates in chosen.items()}
    print(table("method", results, (*PHASES, VALUES)), end="\n\n")
    of_problems = {m: [bench.problems(m, rates, seed) for seed in seeds] for m, rates in chosen.items()}
    lines, rows = {}, []
    for method, runs in results.items():
        pooled = pool(of_problems[method], of_problems["GRPO"])
        low, high = (100 * bound for bound in pooled.ci95 or (float("nan"),) * 2)
        peak = max(each.peak_bytes for each in runs) / 1e6
        log = [*read_metrics(log_of(bench.directory(method, chosen[method], seeds[-1])))][-1]
        critic = [f"{log[name]:.2f}" if name in log else "" for name in CRITIC_METRICS]
        interval = "" if method == "GRPO" else f"{100 * pooled.difference:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append([method, interval, f"{peak:.0f}", *critic])
        lines[method] = {
            "pass@1": [each.accuracy for each in runs],
            "points": 100 * pooled.difference,
            "ci95": [low, high],
            "seconds": fmean(each.seconds["time/step"] for each in runs),
            "peak_bytes": max(each.peak_bytes for each in runs),
            "learning_rates": str(chosen[method]),
        }
    print(markdown(["method", "points over GRPO", "peak MB", "explained variance", "critic loss"], rows), end="\n\n")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 4e-4, 8e-4], help="of the policy")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 3.0], help="the critic's rate over that")
    parser.add_argument("--steps", type=int, help="of training; the recipe's by default")
    parser.add_argument("--trial-steps", type=int, help="of the trials of learning rates; those of --steps by default")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ppo")
    parser.add_argument("--out", type=Path, help="also write the result here, as benchmarks/results/ppo.json was")
    arguments = parser.parse_args()
    if SWEEP_SEED in arguments.seeds:
        parser.error(f"--seeds: {SWEEP_SEED} chooses the learning rates, so it cannot measure")
    bench, trials_bench = (
        Bench(arguments.runs / f"steps-{steps or 'all'}", steps, arguments.threads)
        for steps in (arguments.steps, arguments.trial_steps or arguments.steps)
    )
    for each in (bench, trials_bench):
        write_recipe(each.runs)
    chosen, trials = {}, []
    for method in METHODS:
        chosen[method], rows = sweep(trials_bench, method, arguments.rates, arguments.factors)
        trials += rows
    print(f"\n{describe()}, {today()}; seeds {' '.join(map(str, arguments.seeds))}, {arguments.threads} thread(s)\n")
    print(markdown(["method", "learning rates", "last reward", ""], trials), end="\n\n")
    lines = compare(bench, chosen, arguments.seeds)
    head = ["method", "trained parameters", f"GB of {LARGE} in bfloat16: weights, master, moments, gradients, critic"]
    print(markdown(head, [planned(method) for method in METHODS]), end="\n\n")
    unit = "points of pass@1 over GRPO; seconds of a step"
    result = {"bench": "ppo", **lines, "unit": unit, "machine": describe(), "date": today()}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
