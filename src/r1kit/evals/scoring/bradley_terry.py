"""Bradley-Terry ratings from pairwise comparisons, with bootstrap intervals and control for style.

P(a beats b) = 1 / (1 + 10^((R_b - R_a) / 400)). Symbols: M models, B kinds of battles, F features of style.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from r1kit.errors import UserError
from r1kit.hashing import derive_seed

Floats = NDArray[np.float64]

ANCHOR_ELO = 1000.0
ELO = 400 / np.log(10)  # points of a rating per unit of log-odds
STYLE = ("token_len", "header_count", "list_count", "bold_count")
PSEUDO = 0.5  # wins added each way for a model that won or lost everything, whose rating would be infinite
MAX_STEPS, CONVERGED = 100, 1e-10

Battle = tuple[str, str, float]
"""(model, opponent, share won by the model: 1, 0.5 or 0)."""
Battles = Mapping[Battle, float]
"""Battle -> how many there were."""


@dataclass(frozen=True)
class Ratings:
    """Log-odds of each model against the anchor, which has 0."""

    models: tuple[str, ...]
    log_odds_M: Floats

    def elo(self, model: str) -> float:
        """Return a model's rating; the anchor has 1000."""
        return float(ANCHOR_ELO + ELO * self.log_odds_M[self.models.index(model)])

    def win_rate(self, model: str) -> float:
        """Return the probability that a model beats the anchor, in percent."""
        return float(100 * _sigmoid(self.log_odds_M[self.models.index(model)]))


def fit(battles: Battles, anchor: str) -> Ratings:
    """Return the maximum-likelihood ratings. UserError if battles do not connect all models."""
    models, design_BM, won_B, count_B = _arrays(list(battles), np.array(list(battles.values()), float), anchor)
    return Ratings(models, _fit(models, design_BM, won_B, count_B))


def bootstrap(battles: Battles, anchor: str, draws: int, seed: int) -> list[Ratings]:
    """Return the ratings of `draws` samples of the battles with replacement."""
    models, design_BM, won_B, count_B = _arrays(list(battles), np.array(list(battles.values()), float), anchor)
    random = np.random.default_rng(derive_seed(seed, "bradley-terry"))
    shares_B = count_B / count_B.sum()
    samples = random.multinomial(round(count_B.sum()), shares_B, size=draws)
    return [Ratings(models, _fit(models, design_BM, won_B, sample_B.astype(float))) for sample_B in samples]


def fit_with_style(battles: Sequence[Battle], style_BF: Floats, anchor: str, l2: float = 0.0) -> tuple[Ratings, Floats]:
    """Return ratings at equal style, and the weight of each feature of style.

    Args:
        battles: The battles, each counted once.
        style_BF: A row for each battle: by how much the model's style exceeds its opponent's. Columns are divided by
            their root mean square and not centred, as if each battle counted in both directions. A column of zeros
            gets the weight 0.
        anchor: The model with log-odds 0.
        l2: Weight of the penalty l2/2 * |coefficients|^2. Arena-Hard v0.1 used 1, v2.0 none.
    """
    models, design_BM, won_B, count_B = _arrays(battles, np.ones(len(battles)), anchor)
    size_F = np.sqrt((style_BF**2).mean(axis=0))
    used_F = size_F > 0
    scaled_BF = style_BF[:, used_F] / size_F[used_F]
    design = np.hstack([design_BM[:, 1:], scaled_BF])
    solution = fit_logistic(design, won_B, count_B, l2)
    weights_F = np.zeros(style_BF.shape[1])
    weights_F[used_F] = solution[len(models) - 1 :]
    return Ratings(models, np.concatenate([[0.0], solution[: len(models) - 1]])), weights_F


def style_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[float]:
    """Return the features of Arena-Hard v2.0 for two answers: length, and headers, lists and bold text per token.

    Args:
        ours: The counts STYLE of an answer.
        theirs: The same of the other answer.
    """
    length, *counts = STYLE
    a, b = ours[length], theirs[length]
    features = [(a - b) / (a + b) if a + b else 0.0]
    for name in counts:
        density, other = ours[name] / (a + 1), theirs[name] / (b + 1)
        features.append((density - other) / (density + other + 1))
    return features


def fit_logistic(design: Floats, share: Floats, weight: Floats, l2: float = 0.0) -> Floats:
    """Return the coefficients of a logistic regression without intercept, by Newton's method with halved steps.

    Args:
        design: Shape [N, F].
        share: Soft labels from 0 to 1, shape [N].
        weight: Weights of the rows, shape [N].
        l2: Weight of the penalty l2/2 * |coefficients|^2.
    """

    def loss(x: Floats) -> float:
        odds = design @ x
        return float(weight @ (np.logaddexp(0, odds) - share * odds) + l2 / 2 * x @ x)

    solution = np.zeros(design.shape[1])
    best = loss(solution)
    for _ in range(MAX_STEPS):
        p = _sigmoid(design @ solution)
        gradient = design.T @ (weight * (p - share)) + l2 * solution
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + l2 * np.eye(len(solution))
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        for size in (0.5**i for i in range(30)):
            if (value := loss(solution - size * step)) <= best:
                break
        else:
            break
        solution, improved, best = solution - size * step, best - value, value
        if improved <= CONVERGED * max(1.0, abs(best)) and np.abs(size * step).max(initial=0.0) < 1e-8:
            break
    return solution


def undefeated(battles: Battles) -> list[str]:
    """Return the models that won or lost everything; they get pseudo-wins."""
    won: dict[str, float] = {}
    total: dict[str, float] = {}
    for (model, opponent, share), count in battles.items():
        for name, part in ((model, share), (opponent, 1 - share)):
            won[name] = won.get(name, 0.0) + part * count
            total[name] = total.get(name, 0.0) + count
    return sorted(name for name in total if won[name] in (0.0, total[name]))


def _arrays(battles: Sequence[Battle], count_B: Floats, anchor: str) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
    """Return the models, anchor first, and for each kind of battle: +1 and -1 for its models, share won, count."""
    others = dict.fromkeys(name for a, b, _ in battles for name in (a, b) if name != anchor)
    models = (anchor, *others)
    number = {name: index for index, name in enumerate(models)}
    design = np.zeros((len(battles), len(models)))
    for row, (model, opponent, _) in enumerate(battles):
        design[row, number[model]] += 1
        design[row, number[opponent]] -= 1
    if apart := set(models) - set(_reachable(battles, anchor)):
        raise UserError(
            f"no battles connect {', '.join(sorted(apart))} with {anchor}: their ratings are not comparable"
        )
    won = np.array([share for _, _, share in battles], float)
    return models, design, won, count_B


def _reachable(battles: Sequence[Battle], anchor: str) -> Iterator[str]:
    neighbours: dict[str, set[str]] = {}
    for a, b, _ in battles:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    seen, waiting = {anchor}, [anchor]
    while waiting:
        yield (name := waiting.pop())
        new = neighbours.get(name, set()) - seen
        seen |= new
        waiting += new


def _fit(models: Sequence[str], design_BM: Floats, won_B: Floats, count_B: Floats) -> Floats:
    """Return the log-odds; pseudo-battles keep the ratings of models that won or lost everything finite."""
    played_M = count_B @ np.abs(design_BM)
    score_M = count_B @ np.where(design_BM > 0, won_B[:, None], np.where(design_BM < 0, 1 - won_B[:, None], 0))
    extreme_M = (score_M <= 0) | (score_M >= played_M)
    if extreme_M.any() and count_B.sum() > 0:
        rows = (np.abs(design_BM[:, extreme_M]).sum(axis=1) > 0).nonzero()[0]
        pairs = np.unique(np.abs(design_BM[rows]), axis=0, return_index=True)[1]
        added = design_BM[rows[pairs]]
        design_BM = np.vstack([design_BM, added])
        won_B = np.concatenate([won_B, np.full(len(added), 0.5)])
        count_B = np.concatenate([count_B, np.full(len(added), 2 * PSEUDO)])
    return np.concatenate([[0.0], fit_logistic(design_BM[:, 1:], won_B, count_B)])


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))
