"""The format reward: reasoning inside the think tags, then an answer (DeepSeek-R1, section 1.3)."""

from __future__ import annotations

from r1kit.data.response import has_words
from r1kit.rewards.checks.base import Reward, Row, ScoreRequest
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem


def is_well_formed(reply: Reply) -> bool:
    """Return whether a response follows the format that its prompt asks for.

    Always required: one pair of think tags, opened by the prompt (`think_open`) or by the first word, with reasoning
    inside and text after it. With `answer_tags`, as in R1-Zero's template: one pair of answer tags that is not empty
    and ends the text.
    """
    response = reply.parts
    if not response.well_formed or not reply.answer_tags:
        return response.well_formed
    return (
        response.summary.count("<answer>") == response.summary.count("</answer>") == 1
        and has_words(response.answer)
        and response.summary.endswith("</answer>")
    )


def _judge(request: ScoreRequest) -> Verdict:
    if request.truncated:
        return Verdict(0.0, None, "truncated", "wrong")
    if is_well_formed(request.reply):
        return Verdict(1.0, None, "well formed", "right")
    return Verdict(0.0, None, "the response is not reasoning in think tags followed by an answer", "wrong")


def _from_row(row: Row, response: str) -> ScoreRequest:
    think_open, answer_tags = row.get("think_open") is True, row.get("answer_tags") is True
    return ScoreRequest(Problem("row", "", ""), response, {}, think_open, answer_tags)


REWARD = Reward(_judge, _from_row)
