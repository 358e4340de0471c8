"""Watchdogs: checks after every update for training failures that raise no error.

To add a watchdog, write a function with the `@watchdog(severity, remedy)` decorator below. It gets the history of
metrics and returns a sentence that describes the failure, or None; its docstring is the condition in docs/metrics.md.
It must be a pure function of the rows, so that a resumed run raises the same alerts as an uninterrupted one, and return
None if the rows lack the metrics it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from statistics import fmean, median
from typing import Literal

from r1kit.console import number
from r1kit.metrics.history import History, is_number

Severity = Literal["off", "warn", "stop"]

# All thresholds. "healthy": the extreme over six healthy runs of sprout-zero, which must raise no alert.
CONSTANT_ROLLOUTS = 10
NO_VARIANCE_ROLLOUTS = 3  # healthy: at most 75 % of a rollout's groups have no variance
CUT_OFF_WARN, CUT_OFF_STOP = 0.2, 0.9  # share of completions; healthy: at most 2 %
CUT_OFF_ROLLOUTS = 3  # from the start of the stage
UNGRADED_STOP = 0.1  # share of completions
# Mean difference in nats per token; healthy: 3e-7 in float32, up to 0.044 in bfloat16. What rounding explains: bfloat16
# errs by up to 2**-9 of a number. The two branches of 28 layers each round twice, and errors add up like a random walk:
# sqrt(112) * 2**-9 = 2 % of the hidden state, and so of logits, which spread over about 5 nats: 0.1.
GAP_WARN = {"float32": 1e-3, "bfloat16": 0.1}
GAP_STOP = {"float32": 1e-2, "bfloat16": 0.5}  # beyond any rounding
NOT_FINITE_UPDATES = 3  # consecutive
KL_HIGH = 1.0  # nats per token; healthy: at most 0.72
ENTROPY_LOW = 0.005  # nats per token; healthy: at least 0.02
ENTROPY_RISE, ENTROPY_FACTOR = 0.5, 1.5  # both above the median of the first BASELINE updates; healthy: never rises
BASELINE = 10  # updates needed for a comparison with the usual value
SPIKE, SPIKE_UPDATES = 10, 50  # times the median gradient norm of the last SPIKE_UPDATES updates; healthy: at most 5
FORMAT_FALL, FORMAT_ROLLOUTS = 0.2, 3  # below the best mean of FORMAT_ROLLOUTS rollouts; healthy: at most 0.05
REPETITION = 0.5  # share of a completion's 4-grams that repeat earlier ones
HELD_OUT_FALL = 0.05  # of pass@1 below its best, in two consecutive evaluations; healthy: at most 0.02
STARVED_SHARE, STARVED_ROLLOUTS = 0.5, 5  # share of the time


Condition = Callable[[History], str | None]


@dataclass(frozen=True, slots=True)
class Watchdog:
    """A training failure: how to detect it, how severe it is, and what to do about it."""

    name: str
    severity: Severity
    condition: Condition
    remedy: str
    timed: bool  # reads the clock, so equal runs may differ in it


@dataclass(frozen=True, slots=True)
class Alert:
    """What a watchdog reports about the last row."""

    watchdog: Watchdog
    text: str

    def __str__(self) -> str:
        return f"{self.watchdog.name}: {self.text}. {self.watchdog.remedy}."


WATCHDOGS: dict[str, Watchdog] = {}


def check(history: History, severities: Mapping[str, Severity] | None = None) -> list[Alert]:
    """Run all watchdogs on the last row and return their alerts. `severities` overrides the default by name."""
    overrides = severities or {}
    dogs = [replace(dog, severity=overrides.get(dog.name, dog.severity)) for dog in WATCHDOGS.values()]
    reports = [(dog, dog.condition(history)) for dog in dogs if dog.severity != "off"]
    return [Alert(dog, text) for dog, text in reports if text]


def watchdog(severity: Severity, remedy: str, timed: bool = False) -> Callable[[Condition], Condition]:
    """Register the decorated condition as a watchdog, under the function's name."""

    def register(condition: Condition) -> Condition:
        name = condition.__name__
        WATCHDOGS[name] = Watchdog(name, severity, condition, remedy, timed)
        return condition

    return register


def _percent(share: float) -> str:
    return f"{number(100 * share, 3)} %"


# -- rewards ------------------------------------------------------------------------------------------------------


@watchdog(
    "stop",
    "A reward that never changes teaches nothing. Read some rollouts: does the reward function find the answers, can "
    "the model earn the reward, and are the problems neither all too hard nor all solved",
)
def constant_reward(history: History) -> str | None:
    """Ten rollouts in a row earned exactly the same reward, from the start or below an earlier level."""
    last, ever = history.last_values("reward", CONSTANT_ROLLOUTS), history.values("reward")
    if not last or min(last) != max(last) or min(ever) < last[0] == max(ever):
        return None
    since = "from the start" if min(ever) == max(ever) else f"for {CONSTANT_ROLLOUTS} rollouts"
    return f"every rollout has earned exactly {number(last[0])} a completion {since}"


@watchdog("warn", "The model has learnt these problems: add harder ones, or end the stage here")
def saturated_reward(history: History) -> str | None:
    """Ten rollouts in a row earned the best reward so far."""
    last, ever = history.last_values("reward", CONSTANT_ROLLOUTS), history.values("reward")
    if not last or min(last) != max(last) or not min(ever) < last[0] == max(ever):
        return None
    return f"the reward has been at its best, {number(last[0])}, for {CONSTANT_ROLLOUTS} rollouts"


@watchdog(
    "warn",
    "GRPO learns from reward differences within a group: use problems that the model solves sometimes, more "
    "num_generations, or dynamic_sampling",
)
def no_variance(history: History) -> str | None:
    """Three rollouts in a row have no group with two different rewards."""
    last = history.last_values("frac_reward_zero_std", NO_VARIANCE_ROLLOUTS)
    if not last or min(last) < 1:
        return None
    return f"no group of the last {NO_VARIANCE_ROLLOUTS} rollouts has two different rewards, so nothing was learnt"


@watchdog(
    "warn",
    "Ungraded completions do not score 0: they leave their group's statistics and the loss. Fix the cause given above",
)
def ungraded(history: History) -> str | None:
    """A completion could not be graded."""
    share = history.last.get("completions/ungraded", 0)
    if not share:
        return None
    first = next(row["ungraded_reason"] for row in history.rows if row.get("ungraded_reason"))
    return f"{_percent(share)} of the completions could not be graded; the first: {first}"


@watchdog("stop", f"More than {_percent(UNGRADED_STOP)} of a rollout is lost: fix the cause given above, then continue")
def grading_fails(history: History) -> str | None:
    """More than a tenth of a rollout could not be graded."""
    return ungraded(history) if history.last.get("completions/ungraded", 0) > UNGRADED_STOP else None


@watchdog(
    "warn",
    "The model is unlearning the format: lower learning_rate, or increase the weight of the format reward",
)
def format_falls(history: History) -> str | None:
    """The format rate is 20 points below its best."""
    shares = history.values("rewards/format/mean")
    means = [fmean(shares[i : i + FORMAT_ROLLOUTS]) for i in range(len(shares) - FORMAT_ROLLOUTS + 1)]
    if not means or means[-1] > max(means) - FORMAT_FALL:
        return None
    return f"the share of well-formed answers fell from {_percent(max(means))} to {_percent(means[-1])}"


@watchdog(
    "warn",
    "The model earns reward without solving problems, or memorises the training problems. Read the rollouts with the "
    "highest rewards, close the loophole, use more problems",
)
def reward_hacking(history: History) -> str | None:
    """Held-out pass@1 is 5 points below its best in two consecutive evaluations while the reward rose."""
    for key in (key for key in history.last if key.startswith("eval/") and key.endswith("/pass@1")):
        measured = [row for row in history.rows if is_number(row.get(key)) and is_number(row.get("reward"))]
        best = max(measured[:-2], key=itemgetter(key), default=None)
        if best is None or history.last["reward"] <= best["reward"]:
            continue
        if all(row[key] < best[key] - HELD_OUT_FALL for row in measured[-2:]):
            fall = f"{key} fell from {_percent(best[key])} to {_percent(history.last[key])}"
            reward, now = number(best["reward"], 3), number(history.last["reward"], 3)
            return f"{fall} while the reward rose from {reward} to {now}"
    return None


# -- completions --------------------------------------------------------------------------------------------------


@watchdog(
    "warn",
    "Truncated completions rarely earn a reward: raise max_completion_length, or set overlong_buffer or "
    "mask_truncated_completions",
)
def cut_off(history: History) -> str | None:
    """More than 20 % of the completions reach the length limit."""
    share = history.last.get("completions/clipped_ratio", 0)
    return f"{_percent(share)} of the answers are cut off by max_completion_length" if share > CUT_OFF_WARN else None


@watchdog(
    "stop",
    "With almost all completions truncated, almost nothing is learnt: raise max_completion_length, or use a template "
    "that the model knows",
)
def always_cut_off(history: History) -> str | None:
    """More than 90 % of the completions reach the length limit in every rollout, three or more from the start."""
    shares = history.values("completions/clipped_ratio")
    if len(shares) < CUT_OFF_ROLLOUTS or not CUT_OFF_STOP < min(shares) < 1:
        return None
    return f"from the start, at least {_percent(min(shares))} of every rollout's answers were cut off"


@watchdog(
    "stop",
    "Check eos_token_id in the model's config.json and generation_config.json, and the template; or raise "
    "max_completion_length",
)
def never_ends(history: History) -> str | None:
    """Every completion of the first three rollouts reaches the length limit: no EOS token was ever sampled."""
    shares = history.values("completions/clipped_ratio")
    if len(shares) < CUT_OFF_ROLLOUTS or min(shares) < 1:
        return None
    return f"not one answer of {len(shares)} rollouts ended by itself: the model never writes its end-of-text token"


@watchdog("warn", "The completions are loops: lower learning_rate, or move temperature towards 1")
def repetition(history: History) -> str | None:
    """More than half of the 4-grams of the completions are repeated."""
    share = history.last.get("completions/repetition", 0)
    return f"{_percent(share)} of the 4-grams of an answer repeat earlier ones" if share > REPETITION else None


# -- sampling and training ----------------------------------------------------------------------------------------


@watchdog(
    "warn", "Sampling and training must compute the same model: check that dtype, template and temperature are equal"
)
def sampling_gap(history: History) -> str | None:
    """Sampled and trained log-probabilities differ by 0.001 (float32) or 0.1 (bfloat16) nats on average."""
    gap = history.last.get("sampling/logp_difference_mean", 0)
    limit = GAP_WARN[history.dtype]
    text = f"sampled and trained log-probabilities differ by {number(gap, 2)} nats, over {number(limit)}"
    return text if gap > limit else None


@watchdog(
    "stop",
    "The gradient is not that of the policy that sampled the completions: the engine has other weights, or samples "
    "from another distribution",
)
def sampling_wrong(history: History) -> str | None:
    """Sampled and trained log-probabilities differ by 0.01 (float32) or 0.5 (bfloat16) nats on average."""
    gap = history.last.get("sampling/logp_difference_mean", 0)
    return sampling_gap(history) if gap > GAP_STOP[history.dtype] else None


@watchdog("stop", "The engine did not load the learner's latest weights: restart it, then resume the run")
def stale_weights(history: History) -> str | None:
    """The completions were sampled with older weights than intended."""
    lag = history.last.get("sampling/weights_lag", 0)
    stale = lag > history.max_weights_lag
    return f"the weights that wrote the completions are {number(lag)} updates from the policy's" if stale else None


@watchdog("warn", "Weights and optimizer state did not change. If it recurs, lower learning_rate")
def skipped(history: History) -> str | None:
    """The loss or its gradient was NaN or infinite; the update was skipped."""
    if not history.last.get("skipped"):
        return None
    total = sum(row.get("skipped", 0) for row in history.rows)
    return f"the loss or its gradient was NaN or infinite, so the update was left out ({number(total)} so far)"


@watchdog("stop", "Lower learning_rate, or set dtype float32. The weights are still intact")
def not_finite(history: History) -> str | None:
    """Three updates in a row were skipped."""
    last = history.rows[-NOT_FINITE_UPDATES:]
    in_a_row = len(last) == NOT_FINITE_UPDATES and last[-1]["step"] - last[0]["step"] == NOT_FINITE_UPDATES - 1
    if not in_a_row or not all(row.get("skipped") for row in last):
        return None
    return f"the gradients of {NOT_FINITE_UPDATES} updates in a row were NaN or infinite"


@watchdog("warn", "A model far from its reference collapses easily: lower learning_rate, or raise beta")
def high_kl(history: History) -> str | None:
    """The policy is 1 nat per token away from its reference model."""
    kl = history.last.get("kl", 0)
    return f"the policy is {number(kl, 2)} nats a token from its reference" if kl > KL_HIGH else None


@watchdog("warn", "Raise temperature or epsilon_high, or lower learning_rate")
def entropy_collapse(history: History) -> str | None:
    """Entropy is below 0.005 nats."""
    entropy = history.last.get("entropy", math.inf)
    low = 0 < entropy < ENTROPY_LOW  # exactly 0 means that no token was trained on
    return f"entropy is down to {number(entropy, 2)} nats: all answers of a group are alike" if low else None


@watchdog("warn", "Lower learning_rate, or temperature if it is above 1")
def entropy_rises(history: History) -> str | None:
    """Entropy is 0.5 nats and half again above that of the first ten updates."""
    values = [row["entropy"] for row in history.rows if is_number(row.get("entropy"))]
    if len(values) <= BASELINE:
        return None
    start = median(values[:BASELINE])
    high = values[-1] > max(start + ENTROPY_RISE, start * ENTROPY_FACTOR)
    text = f"entropy rose from {number(start, 2)} to {number(values[-1], 2)} nats: the answers turn into noise"
    return text if high else None


@watchdog("warn", "A single peak is clipped and harmless; if peaks recur, lower learning_rate")
def gradient_spike(history: History) -> str | None:
    """The gradient norm is ten times its median."""
    *before, last = (row.get("grad_norm") for row in history.rows[-SPIKE_UPDATES - 1 :])
    usual = [norm for norm in before if is_number(norm) and norm > 0]
    if not is_number(last) or len(usual) < BASELINE or last <= SPIKE * median(usual):
        return None
    return f"the gradient's norm is {number(last, 3)}, usually {number(median(usual), 3)}"


@watchdog("warn", "The machine is idle meanwhile: speed up the reward function, or simplify the data", timed=True)
def starved(history: History) -> str | None:
    """More than half of the time is spent waiting for grades or data."""
    steps = history.last_values("time/step", STARVED_ROLLOUTS)
    for phase, what in (("time/grade", "grades"), ("time/data", "data")):
        waited = history.last_values(phase, STARVED_ROLLOUTS)
        if steps and sum(waited) > STARVED_SHARE * sum(steps):
            return f"{_percent(sum(waited) / sum(steps))} of the time is spent waiting for {what}"
    return None
