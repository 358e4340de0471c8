"""The language reward: the share of the thinking's words in the target language (DeepSeek-R1, section 3.2.2)."""

from __future__ import annotations

from r1kit.data.language.identify import ONE_LANGUAGE, consistency, language_code, load
from r1kit.rewards.checks.base import Reward, Row, ScoreRequest
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem


def _judge(request: ScoreRequest) -> Verdict:
    thinking = request.reply.thinking
    if not thinking.strip():
        return Verdict(0.0, None, "there is no text to identify the language of", "unparseable")
    language = request.problem.language
    share = consistency(thinking, language, request.problem.extra.get("languages", ()))
    reason = f"{share:.1%} of the words are {language}; at least {ONE_LANGUAGE:.0%} are required"
    return Verdict(share, language, reason, "right" if share >= ONE_LANGUAGE else "wrong")


def _from_row(row: Row, response: str) -> ScoreRequest:
    language = row.get("gold") or row.get("language")
    if not isinstance(language, str):
        raise ValueError(f"gold = {language!r}: must name a language, such as en or Chinese")
    return ScoreRequest(Problem("row", "", "", language=language_code(language)), response, {})


REWARD = Reward(_judge, _from_row, warm_up=load)
