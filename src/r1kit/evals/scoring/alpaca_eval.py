"""AlpacaEval 2.0: win rate and length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475).

The length-controlled rate is what a logistic model predicts at equal lengths. Symbols: N instructions, G gamed rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r1kit.data.store import DataError
from r1kit.evals.metrics import standard_error
from r1kit.evals.scoring.base import Options, Row, Scorer, field, numbers, typed

Floats = NDArray[np.float64]

C = 21.544  # weight of the data against the L1 penalty; docs/evaluation.md says why it is not cross-validated
GAMED_WEIGHT = 0.1  # 0.2 for each of the two gamed baselines' halves
MAX_STEPS, CONVERGED = 200, 1e-12


@dataclass(frozen=True)
class Gamed:
    """GPT-4 asked to be verbose or concise, against itself: these rows fix the weight of length for all models."""

    length_G: Floats
    """tanh of the standardised difference in length."""
    difficulty_G: Floats
    length_times_label: float
    """Sum over the rows of length times preference."""
    difficulty_times_label: float
    weight: float = GAMED_WEIGHT


def win_rate(preferences: Sequence[float]) -> dict[str, float]:
    """Return the win rate with its standard error, and the rate of rounded preferences, all in percent.

    Args:
        preferences: 1 if the baseline's output is better, 2 if the model's is, or between; 0 means a tie. Those that
            are not finite, which the judge could not give, are left out.
    """
    won = np.array([0.5 if p == 0 else p - 1 for p in preferences if isfinite(p)])
    if not won.size:
        raise DataError("no preference is a number: the judge gave none")
    draws, wins = (won == 0.5).mean(), (np.round(won) * (won != 0.5)).mean()
    error = won.std(ddof=1) / np.sqrt(won.size) if won.size > 1 else 0.0
    rates = {"win_rate": won.mean(), "standard_error": error, "discrete_win_rate": wins + draws / 2}
    return {name: float(100 * rate) for name, rate in rates.items()}


def length_controlled(
    preferences: Sequence[float],
    baseline_lengths: Sequence[float],
    lengths: Sequence[float],
    difficulty: Sequence[float],
    gamed: Gamed,
) -> dict[str, float]:
    """Return the length-controlled win rate in percent, and its standard error over instructions.

    Args:
        preferences: As in `win_rate`, one for each instruction.
        baseline_lengths: Characters of the baseline's outputs.
        lengths: Characters of the model's outputs.
        difficulty: How hard each instruction is, a fixed vector of the benchmark.
        gamed: The rows that fix the weight of length.
    """
    label_N = np.array([0.5 if p == 0 else p - 1 for p in preferences])
    difference_N = np.array(baseline_lengths, float) - np.array(lengths, float)
    spread = difference_N.std(ddof=1)
    length_N = np.tanh(difference_N / spread) if spread > 0 else np.zeros(len(difference_N))
    difficulty_N = np.array(difficulty, float)
    keep_N = np.isfinite(label_N)
    design = np.stack([length_N, difficulty_N, np.ones(len(label_N))], axis=1)[keep_N]
    _, of_difficulty, of_model = _fit(design, label_N[keep_N], gamed)
    won_N = 100 * _sigmoid(of_model + of_difficulty * difficulty_N)
    return {"lc_win_rate": float(won_N.mean()), "lc_standard_error": standard_error(won_N.tolist())}


def _fit(design_N3: Floats, label_N: Floats, gamed: Gamed) -> Floats:
    """Minimise the log loss of real and gamed rows plus |w| / C: Newton's method on a quadratic with the L1 term."""
    gamed_G3 = np.stack([gamed.length_G, gamed.difficulty_G, np.zeros(len(gamed.length_G))], axis=1)
    labels_3 = design_N3.T @ label_N
    labels_3 += gamed.weight * np.array([gamed.length_times_label, gamed.difficulty_times_label, 0.0])
    weights_3 = np.zeros(3)
    for _ in range(MAX_STEPS):
        p_N, p_G = _sigmoid(design_N3 @ weights_3), _sigmoid(gamed_G3 @ weights_3)
        gradient_3 = design_N3.T @ p_N + gamed.weight * gamed_G3.T @ p_G - labels_3
        curvature = (design_N3.T * (p_N * (1 - p_N))) @ design_N3
        curvature += gamed.weight * (gamed_G3.T * (p_G * (1 - p_G))) @ gamed_G3
        new_3 = _minimise_with_l1(gradient_3, curvature + 1e-9 * np.eye(3), weights_3)
        step = float(np.abs(new_3 - weights_3).max())
        weights_3 = weights_3 + (new_3 - weights_3) * min(1.0, 2.0 / max(step, 1e-300))  # far steps overshoot
        if step < CONVERGED:
            break
    return weights_3


def _minimise_with_l1(gradient_3: Floats, curvature: Floats, start_3: Floats) -> Floats:
    """Minimise the quadratic model at `start_3` plus |w| / C, coordinate by coordinate."""
    weights_3 = start_3.copy()
    for _ in range(MAX_STEPS):
        before_3 = weights_3.copy()
        for i in range(len(weights_3)):
            slope = gradient_3[i] + curvature[i] @ (weights_3 - start_3)
            target = curvature[i, i] * weights_3[i] - slope
            weights_3[i] = np.sign(target) * max(0.0, abs(target) - 1 / C) / curvature[i, i]
        if np.abs(weights_3 - before_3).max() < CONVERGED:
            break
    return weights_3


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


class AlpacaEval(Scorer):
    """Scores one object: `instruction_difficulty`, `gamed_rows`, `len_1`, and `models` with preference and len_2."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._models: dict[str, Any] = {}

    def add(self, row: Row) -> None:
        """Score the models of an object."""
        difficulty, baseline_lengths = numbers(row, "instruction_difficulty"), numbers(row, "len_1")
        gamed = _gamed(typed(row, dict, "gamed_rows"), difficulty)
        for name, model in typed(row, dict, "models").items():
            try:
                preferences, lengths = numbers(_without_null(model), "preference"), numbers(model, "len_2")
                sizes = {len(difficulty), len(baseline_lengths), len(preferences), len(lengths)}
                if len(sizes) != 1:
                    raise DataError(f"lists of {sorted(sizes)} numbers: must have one number for each instruction")
                controlled = length_controlled(preferences, baseline_lengths, lengths, difficulty, gamed)
                self._models[name] = {**win_rate(preferences), **controlled}
            except DataError as error:
                raise DataError(f"models.{name}: {error}") from None
            self.compare(model, self._models[name])

    def metrics(self) -> dict[str, Any]:
        """Return the win rates of each model in percent."""
        return {"models": self._models}


def _without_null(model: Row) -> Row:
    """Return the row of a model with NaN for each preference that is null: the judge gave none."""
    given = typed(model, list, "preference")
    return {**model, "preference": [nan if preference is None else preference for preference in given]}


def _gamed(row: Mapping[str, Any], difficulty: Sequence[float]) -> Gamed:
    length = numbers(row, "tanh_std_delta_len")
    if len(length) % len(difficulty):
        raise DataError(
            f"gamed_rows has {len(length)} lengths: must be a multiple of {len(difficulty)}, the difficulties"
        )
    return Gamed(
        np.array(length, float),
        np.tile(np.array(difficulty, float), len(length) // len(difficulty)),
        _number(row, "sum_tanh_times_y"),
        _number(row, "sum_difficulty_times_y"),
        _number(row, "weight_each") if "weight_each" in row else GAMED_WEIGHT,
    )


def _number(row: Row, name: str) -> float:
    """Return a field that is a number, whole or not."""
    return numbers({name: [field(row, name)]}, name)[0]
