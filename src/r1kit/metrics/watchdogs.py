"""What goes wrong in training without an error. Each watchdog: a condition, a plain sentence, a remedy.

A condition is a pure function of the rows of metrics.jsonl so far, so a run that was stopped and resumed finds what an
undisturbed one finds. It returns the sentence, or None when all is well or the rows lack what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, median
from typing import Any, Literal

Row = Mapping[str, Any]
Severity = Literal["off", "warn", "stop"]

# Every threshold. M: what was measured on runs that learnt (sprout-zero, six runs): they raise no alarm.
CONSTANT_ROLLOUTS = 10
NO_VARIANCE_ROLLOUTS = 3  # M: at most 75 % of a rollout's groups
CUT_OFF_WARN, CUT_OFF_STOP = 0.2, 0.9  # share of completions; M: at most 2 %
CUT_OFF_ROLLOUTS = 3  # from the start
UNGRADED_STOP = 0.1  # share of completions
GAP_WARN = {"float32": 1e-3, "bfloat16": 0.03}  # nats a token in the mean; M: 3e-7, and 0.0045 in bfloat16
GAP_STOP = 10  # times GAP_WARN
NOT_FINITE_UPDATES = 3  # in a row
KL_HIGH = 1.0  # nats a token; M: at most 0.72
ENTROPY_LOW = 0.005  # nats a token; M: at least 0.02
ENTROPY_RISE, ENTROPY_FACTOR = 0.5, 1.5  # above the median of the first BASELINE updates, both; M: never rises
BASELINE = 10  # updates before a comparison with what is usual means anything
SPIKE, SPIKE_UPDATES = 10, 50  # times the median gradient norm of so many updates; M: at most 5 times
FORMAT_FALL, FORMAT_ROLLOUTS = 0.2, 3  # below the best mean of so many rollouts; M: at most 0.05
REPETITION = 0.5  # share of an answer's 4-grams that it has written before
HELD_OUT_FALL = 0.05  # of pass@1, below the best in two evaluations running; M: at most 0.02
STARVED_SHARE, STARVED_ROLLOUTS = 0.5, 5  # of the time


@dataclass(frozen=True)
class History:
    """The rows of a stage's metrics so far, oldest first; the last is the update just made."""

    rows: Sequence[Row]
    dtype: str = "float32"

    @property
    def last(self) -> Row:
        return self.rows[-1]

    @cached_property
    def rollouts(self) -> list[Row]:
        """The first row of every rollout (the others repeat what describes it); all rows where there are none."""
        counts = [None, *(row.get("tokens", row["step"]) for row in self.rows)]
        return [row for row, now, before in zip(self.rows, counts[1:], counts, strict=False) if now != before]

    def each(self, metric: str) -> list[float]:
        """The metric in every rollout that has it."""
        return [row[metric] for row in self.rollouts if _is_number(row.get(metric))]

    def recent(self, metric: str, rollouts: int) -> list[float]:
        """The metric in the last `rollouts` rollouts; empty when there are fewer."""
        return self.each(metric)[-rollouts:] if len(self.rollouts) >= rollouts else []


Condition = Callable[[History], str | None]


@dataclass(frozen=True, slots=True)
class Watchdog:
    """One way in which training goes wrong."""

    name: str
    severity: Severity
    seen: Condition
    remedy: str
    timed: bool  # reads the clock, so that the same run may find it once and once not


@dataclass(frozen=True, slots=True)
class Alert:
    """What a watchdog found at the last row."""

    watchdog: Watchdog
    text: str

    def __str__(self) -> str:
        return f"{self.watchdog.name}: {self.text}. {self.watchdog.remedy}."


WATCHDOGS: dict[str, Watchdog] = {}


def look(history: History, severities: Mapping[str, Severity] | None = None) -> list[Alert]:
    """What every watchdog finds at the last row. `severities`: name -> another severity than its own."""
    given = severities or {}
    dogs = [replace(dog, severity=given.get(dog.name, dog.severity)) for dog in WATCHDOGS.values()]
    found = [(dog, dog.seen(history)) for dog in dogs if dog.severity != "off"]
    return [Alert(dog, text) for dog, text in found if text]


def watchdog(severity: Severity, remedy: str, timed: bool = False) -> Callable[[Condition], Condition]:
    """Makes a condition the watchdog of its name."""

    def register(seen: Condition) -> Condition:
        WATCHDOGS[seen.__name__] = Watchdog(seen.__name__, severity, seen, remedy, timed)
        return seen

    return register


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


# -- rewards ------------------------------------------------------------------------------------------------------


@watchdog(
    "stop",
    "Nothing can be learnt from a reward that never changes. Read some rollouts: does the reward function see the "
    "answers, can the model earn it at all, are the problems neither all too hard nor all solved",
)
def constant_reward(history: History) -> str | None:
    """From the start, or below what was earned before: broken, not finished."""
    last, ever = history.recent("reward", CONSTANT_ROLLOUTS), history.each("reward")
    if not last or min(last) != max(last) or min(ever) < last[0] == max(ever):
        return None
    since = "from the start" if min(ever) == max(ever) else f"for {CONSTANT_ROLLOUTS} rollouts"
    return f"every rollout has earned exactly {last[0]:.4g} a completion {since}"


@watchdog("warn", "These problems are learnt: add harder ones, or end the stage here")
def saturated_reward(history: History) -> str | None:
    last, ever = history.recent("reward", CONSTANT_ROLLOUTS), history.each("reward")
    if not last or min(last) != max(last) or not min(ever) < last[0] == max(ever):
        return None
    return f"the reward has stood at its best, {last[0]:.4g}, for {CONSTANT_ROLLOUTS} rollouts"


@watchdog(
    "warn",
    "GRPO learns from differences within a group: use problems that the model solves sometimes, more num_generations, "
    "or dynamic_sampling",
)
def no_variance(history: History) -> str | None:
    last = history.recent("frac_reward_zero_std", NO_VARIANCE_ROLLOUTS)
    if not last or min(last) < 1:
        return None
    return f"in {NO_VARIANCE_ROLLOUTS} rollouts no group held two different rewards, so nothing was learnt"


@watchdog(
    "warn", "They are never scored 0: they leave their group's statistics and the loss. Repair what the reason names"
)
def ungraded(history: History) -> str | None:
    share = history.last.get("completions/ungraded", 0)
    if not share:
        return None
    first = next(row["ungraded_reason"] for row in history.rows if row.get("ungraded_reason"))
    return f"{_percent(share)} of the completions could not be graded; the first: {first}"


@watchdog("stop", f"Over {_percent(UNGRADED_STOP)} of a rollout is lost: repair what the reason names before going on")
def grading_fails(history: History) -> str | None:
    return ungraded(history) if history.last.get("completions/ungraded", 0) > UNGRADED_STOP else None


@watchdog(
    "warn",
    "The model unlearns the form of its answers: lower learning_rate, or give the format reward more weight",
)
def format_falls(history: History) -> str | None:
    shares = history.each("rewards/format/mean")
    means = [fmean(shares[i : i + FORMAT_ROLLOUTS]) for i in range(len(shares) - FORMAT_ROLLOUTS + 1)]
    if not means or means[-1] > max(means) - FORMAT_FALL:
        return None
    return f"the share of well-formed answers fell from {_percent(max(means))} to {_percent(means[-1])}"


@watchdog(
    "warn",
    "The model has found a way to the reward other than solving problems, or learns them by heart. Read the best-paid "
    "rollouts, close what they exploit, use more problems",
)
def reward_hacking(history: History) -> str | None:
    for key in (key for key in history.last if key.startswith("eval/") and key.endswith("/pass@1")):
        measured = [row for row in history.rows if _is_number(row.get(key)) and _is_number(row.get("reward"))]
        best = max(measured[:-2], key=lambda row: row[key], default=None)
        if best is None or history.last["reward"] <= best["reward"]:
            continue
        if all(row[key] < best[key] - HELD_OUT_FALL for row in measured[-2:]):
            fall = f"{key} fell from {_percent(best[key])} to {_percent(history.last[key])}"
            return f"{fall} while the reward rose from {best['reward']:.3g} to {history.last['reward']:.3g}"
    return None


# -- completions --------------------------------------------------------------------------------------------------


@watchdog(
    "warn",
    "Cut-off answers rarely earn anything: raise max_completion_length, or set overlong_buffer or "
    "mask_truncated_completions",
)
def cut_off(history: History) -> str | None:
    share = history.last.get("completions/clipped_ratio", 0)
    return f"{_percent(share)} of the answers are cut off by max_completion_length" if share > CUT_OFF_WARN else None


@watchdog(
    "stop",
    "Next to no answer reaches its end, so next to nothing is learnt: raise max_completion_length, or use a template "
    "that the model knows",
)
def always_cut_off(history: History) -> str | None:
    shares = history.each("completions/clipped_ratio")
    if len(shares) < CUT_OFF_ROLLOUTS or not CUT_OFF_STOP < min(shares) < 1:
        return None
    return f"from the start, at least {_percent(min(shares))} of every rollout's answers were cut off"


@watchdog(
    "stop",
    "Check eos_token_id in the model's config.json and generation_config.json, and the template; or raise "
    "max_completion_length",
)
def never_ends(history: History) -> str | None:
    shares = history.each("completions/clipped_ratio")
    if len(shares) < CUT_OFF_ROLLOUTS or min(shares) < 1:
        return None
    return f"not one answer of {len(shares)} rollouts ended by itself: the model never writes its end-of-text token"


@watchdog("warn", "The model runs in circles: lower learning_rate, or move temperature towards 1")
def repetition(history: History) -> str | None:
    share = history.last.get("completions/repetition", 0)
    return f"{_percent(share)} of what an answer says it has said before" if share > REPETITION else None


# -- sampling and training ----------------------------------------------------------------------------------------


@watchdog(
    "warn", "Generation and training should be one model: see that both use the same dtype, template and temperature"
)
def sampling_gap(history: History) -> str | None:
    gap = history.last.get("sampling/logp_difference_mean", 0)
    limit = GAP_WARN[history.dtype]
    return f"sampled and trained log-probabilities differ by {gap:.2g} nats, over {limit:g}" if gap > limit else None


@watchdog(
    "stop",
    "The gradient is not that of the policy that wrote the answers: the engine holds other weights, or samples from "
    "another distribution",
)
def sampling_wrong(history: History) -> str | None:
    gap = history.last.get("sampling/logp_difference_mean", 0)
    return sampling_gap(history) if gap > GAP_STOP * GAP_WARN[history.dtype] else None


@watchdog("stop", "The engine did not take over the learner's last weights: restart it; the run resumes")
def stale_weights(history: History) -> str | None:
    lag = history.last.get("sampling/weights_lag", 0)
    return f"the weights that wrote the completions are {lag:g} updates from the policy's" if lag else None


@watchdog("warn", "Weights and optimizer are as they were before. If it recurs, lower learning_rate")
def skipped(history: History) -> str | None:
    if not history.last.get("skipped"):
        return None
    total = sum(row.get("skipped", 0) for row in history.rows)
    return f"the loss or its gradient was NaN or infinite, so the update was left out ({total:g} so far)"


@watchdog("stop", "It will not end by itself: lower learning_rate, or set dtype float32. The weights are still good")
def not_finite(history: History) -> str | None:
    last = history.rows[-NOT_FINITE_UPDATES:]
    in_a_row = len(last) == NOT_FINITE_UPDATES and last[-1]["step"] - last[0]["step"] == NOT_FINITE_UPDATES - 1
    if not in_a_row or not all(row.get("skipped") for row in last):
        return None
    return f"the gradients of {NOT_FINITE_UPDATES} updates in a row were NaN or infinite"


@watchdog("warn", "Far from its reference a model collapses easily: lower learning_rate, or raise beta")
def high_kl(history: History) -> str | None:
    kl = history.last.get("kl", 0)
    return f"the policy is {kl:.2g} nats a token from its reference" if kl > KL_HIGH else None


@watchdog("warn", "Raise temperature or epsilon_high, or lower learning_rate")
def entropy_collapse(history: History) -> str | None:
    entropy = history.last.get("entropy", math.inf)
    low = 0 < entropy < ENTROPY_LOW  # 0 exactly: nothing was trained on
    return f"entropy is down to {entropy:.2g} nats: all answers of a group are alike" if low else None


@watchdog("warn", "Lower learning_rate, or temperature if it is above 1")
def entropy_rises(history: History) -> str | None:
    values = [row["entropy"] for row in history.rows if _is_number(row.get("entropy"))]
    if len(values) <= BASELINE:
        return None
    start = median(values[:BASELINE])
    high = values[-1] > max(start + ENTROPY_RISE, start * ENTROPY_FACTOR)
    return f"entropy rose from {start:.2g} to {values[-1]:.2g} nats: the answers turn into noise" if high else None


@watchdog("warn", "One peak is clipped and harmless; if they recur, lower learning_rate")
def gradient_spike(history: History) -> str | None:
    *before, last = (row.get("grad_norm") for row in history.rows[-SPIKE_UPDATES - 1 :])
    usual = [norm for norm in before if _is_number(norm) and norm > 0]
    if not _is_number(last) or len(usual) < BASELINE or last <= SPIKE * median(usual):
        return None
    return f"the gradient's norm is {last:.3g}, usually {median(usual):.3g}"


@watchdog("warn", "The machine idles meanwhile: make the reward function faster, or the data simpler to read", True)
def starved(history: History) -> str | None:
    steps = history.recent("time/step", STARVED_ROLLOUTS)
    for phase, what in (("time/grade", "grades"), ("time/data", "data")):
        waited = history.recent(phase, STARVED_ROLLOUTS)
        if steps and sum(waited) > STARVED_SHARE * sum(steps):
            return f"{_percent(sum(waited) / sum(steps))} of the time goes into waiting for {what}"
    return None
