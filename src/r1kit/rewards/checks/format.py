"""The format reward: reasoning inside the think tags, then an answer (paper: 1.3)."""

from __future__ import annotations

from r1kit.data.response import says_something, split_response


def is_well_formed(text: str, *, think_open: bool, answer_tags: bool) -> bool:
    """Whether a response keeps to the format its prompt asks for.

    Always: one pair of think tags, opened by the prompt (`think_open`) or the first word, reasoning inside, something
    after. With `answer_tags`, as in R1-Zero's template: one pair of answer tags that holds something and ends the text.
    """
    response = split_response(text, think_open)
    if not response.well_formed or not answer_tags:
        return response.well_formed
    return (
        response.summary.count("<answer>") == response.summary.count("</answer>") == 1
        and says_something(response.answer)
        and response.summary.endswith("</answer>")
    )
