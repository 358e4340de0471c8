"""Score completions: the accuracy reward, the other built-in rewards, and the user's own.

To add a built-in reward: a file that defines a `Reward` (see checks/base.py), and a line in BUILT_IN.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from r1kit.errors import UserError
from r1kit.rewards import custom
from r1kit.rewards.checks import environment, format, prose
from r1kit.rewards.checks.base import Reward, ScoreRequest
from r1kit.rewards.custom import RewardError
from r1kit.rewards.language import reward as language
from r1kit.rewards.reply import Reply, RewardInput
from r1kit.rewards.services import recipe_folder
from r1kit.rewards.verdict import Verdict
from r1kit.rewards.verifiers import verifier_named
from r1kit.synonyms import nearest
from r1kit.types import Problem, Score

__all__ = [
    "ACCURACY",
    "BUILT_IN",
    "RewardError",
    "ScoreRequest",
    "check_reward_names",
    "grade",
    "score",
    "score_with_verdict",
]

ACCURACY = "accuracy"  # the reward that the problem's verifier gives
BUILT_IN: dict[str, Reward] = {
    "format": format.REWARD,
    "language": language.REWARD,
    "environment": environment.REWARD,
    "rules_kept": prose.RULES_KEPT,
    "prose": prose.PROSE,
    "on_topic": prose.ON_TOPIC,
}


def grade(
    problem: Problem,
    text: str,
    *,
    think_open: bool = False,
    truncated: bool = False,
    free_form: bool = False,
    answer_tags: bool = True,
) -> Verdict:
    """Return the accuracy verdict: value 1 for the right answer and no other, a share for problems with parts.

    Args:
        problem: Names the verifier and holds the gold answer. An unusable gold answer gives `infra_error`.
        text: The completion.
        think_open: The prompt ended in `<think>`.
        truncated: The length cap cut the completion off, so only a closed answer counts.
        free_form: The prompt asked for no format, so a bare answer counts too.
        answer_tags: The prompt asked for `<answer>` tags. Without, a choice such as "A. text" may stand by itself.

    Raises:
        RewardError: The verifier does not exist, or failed.
    """
    return judge(problem, Reply(text, think_open, truncated, free_form, answer_tags))


def judge(problem: Problem, reply: Reply) -> Verdict:
    """Return the accuracy verdict on a reply; see `grade`."""
    try:
        verifier = verifier_named(problem.verifier)
    except RewardError as error:
        raise RewardError(f"problem {problem.id}: {error}") from None
    try:
        gold = verifier.read(problem)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"verifier {problem.verifier!r} cannot grade the problem: {_fault(error)}"
        return Verdict(0.0, None, reason, "infra_error")
    try:
        return verifier.judge(gold, reply)
    except UserError as error:  # no sandbox or no judge
        raise RewardError(f"problem {problem.id}: {error}") from error
    except Exception as error:
        raise RewardError(
            f"verifier {problem.verifier!r} failed on problem {problem.id}: {type(error).__name__}: {error}"
        ) from error


def score(
    problem: Problem, text: str, weights: Mapping[str, float], *, think_open: bool, answer_tags: bool, truncated: bool
) -> Score:
    """Score one completion; see `ScoreRequest` for the arguments."""
    return score_with_verdict(ScoreRequest(problem, text, weights, think_open, answer_tags, truncated))[0]


def score_with_verdict(request: ScoreRequest) -> tuple[Score, Verdict | None]:
    """Return the score of a completion, and the accuracy verdict if accuracy has a weight.

    The score is masked when the accuracy could not be determined, or the environment failed.
    """
    verdict = None
    if request.failure:
        return Score(0.0, dict.fromkeys(request.weights, 0.0), None, request.failure, masked=True), None
    if ACCURACY in request.weights:
        verdict = judge(request.problem, request.reply)
    parts = {
        name: _accuracy(verdict, request) if verdict is not None and name == ACCURACY else _part(name, request)
        for name in request.weights
    }
    total = sum(weight * parts[name] for name, weight in request.weights.items())
    if not isfinite(total):
        raise RewardError(f"problem {request.problem.id}: the weighted sum of {parts} is {total}: must be finite")
    if verdict is None:
        return Score(total, parts), None
    readable = verdict.status != "unparseable"
    return Score(total, parts, verdict.extracted, verdict.reason, verdict.masked, readable), verdict


def _fault(error: Exception) -> str:
    """Return what is wrong with a problem's fields."""
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _accuracy(verdict: Verdict, request: ScoreRequest) -> float:
    return verdict.value if request.partial_credit else float(verdict.status == "right")


def _part(name: str, request: ScoreRequest) -> float:
    if name in BUILT_IN:
        try:
            return BUILT_IN[name].judge(request).value
        except (KeyError, TypeError, ValueError) as error:
            raise RewardError(f"reward {name} cannot score problem {request.problem.id}: {_fault(error)}") from error
    return custom.value_of(name, recipe_folder(), RewardInput.of(request.problem, request.reply, request.token_count))


def check_reward_names(weights: Mapping[str, float], folder: Path | None = None) -> None:
    """Raise RewardError unless every name is a built-in reward or an importable function.

    Args:
        weights: Reward name -> weight.
        folder: The recipe's directory, from which modules can be imported too.
    """
    names = (ACCURACY, *BUILT_IN)
    for name in weights:
        if name in names:
            continue
        if ":" not in name:
            close = nearest(name, names)
            raise RewardError(
                f"unknown reward {name!r}: {f'did you mean {close}? ' if close else ''}Use one of "
                f"{', '.join(names)}, or name a function of your own as module:function"
            )
        custom.load(name, folder)
