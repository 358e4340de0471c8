"""Supervised records as prompts, answers and tokens."""

from __future__ import annotations

import pytest

from r1kit.data.examples import continue_prompt, encode, hold_out, scored_parts

OPEN = "User: hi\n\nAssistant:<think>\n"


@pytest.mark.parametrize(
    ("prompt", "answer", "continued"),
    [
        ("Assistant:", "<think>\na\n</think>\nb", "<think>\na\n</think>\nb"),
        (OPEN, "<think>\na\n</think>\nb", "a\n</think>\nb"),
        (OPEN, "a</think>b", "a</think>b"),
        (OPEN, "hello", "\n</think>\n\nhello"),
    ],
)
def test_answer_does_not_repeat_the_prompts_think_tag(prompt: str, answer: str, continued: str) -> None:
    assert continue_prompt(prompt, answer) == continued


@pytest.mark.parametrize(
    ("response", "summary", "whole"),
    [
        ("<think>a</think>\n b ", (OPEN.removesuffix("<think>\n"), "b"), (OPEN, "a</think>\n b ")),
        ("b", (OPEN.removesuffix("<think>\n"), "b"), (OPEN, "\n</think>\n\nb")),
        ("<think>a", None, (OPEN, "a")),
        ("<think>a</think>\n", None, (OPEN, "a</think>\n")),
        ("<think>a</think>b <think>c", None, (OPEN, "a</think>b <think>c")),
    ],
)
def test_reward_model_reads_summary_or_full_response(response: str, summary: object, whole: object) -> None:
    assert scored_parts(OPEN, response, "summary") == summary
    assert scored_parts(OPEN, response, "whole") == whole


def test_encoded_document_is_prompt_then_answer(tokenizer) -> None:
    pairs = [("2 + 2 =", " 4"), ("", "x")]
    for close in (True, False):
        for (prompt, answer), document in zip(pairs, encode(iter(pairs), tokenizer, close=close), strict=True):
            ids, end = document.tokens.tolist(), [tokenizer.eos_token_id] * close
            assert ids[: document.prompt_length] == tokenizer.encode(prompt)
            assert ids[document.prompt_length :] == tokenizer.encode(answer) + end


def test_prompts_are_held_out_with_all_their_records() -> None:
    prompts = [f"{i // 3}" for i in range(300)]
    held = hold_out(prompts, 20, seed=1)
    assert len(held) == 18 and held == hold_out(prompts, 20, seed=1) != hold_out(prompts, 20, seed=2)
    assert not {prompts[i] for i in held} & {prompt for i, prompt in enumerate(prompts) if i not in held}
    assert len(hold_out(prompts, 256, seed=1)) == 30, "never more than a tenth"
    assert hold_out(["same"] * 50, 5, seed=1) == hold_out(prompts, 0, seed=1) == []
