"""Stop strings end completions at the first token that completes one, and change nothing before it."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from tokenizers_of_families import tokenizer_of
from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.engine.scripted import ScriptedEngine
from r1kit.engine.stops import stop_length, stop_tokens
from r1kit.learn.batch import make_batch
from r1kit.types import Completion

SEED, CAP = 3, 45


@pytest.fixture(scope="module")
def model(make_decoder):
    return make_decoder(2, eos_token_ids=(0, 5)).double()


@pytest.fixture(scope="module")
def requests(tokenizer: PreTrainedTokenizerBase) -> list[Request]:
    rng = Random(1)
    return [Request(f"p{i}", tuple(rng.randrange(1, len(tokenizer)) for _ in range(9)), 4) for i in range(6)]


@pytest.fixture(scope="module")
def complete(model, tokenizer, requests) -> list[Completion]:
    return NativeEngine(model, tokenizer).generate(requests, SamplingParams(SEED, CAP))


@pytest.fixture(scope="module")
def strings(complete: list[Completion]) -> tuple[str, ...]:
    """Two pairs of letters that occur in several completions, and a text that occurs in none."""
    pairs = Counter(pair for c in complete for pair in {c.text[i : i + 2] for i in range(2, len(c.text) - 2)})
    found = [pair for pair, count in pairs.most_common() if count >= 3 and pair.isascii() and pair.strip() == pair]
    assert len(found) >= 2
    return (*found[:2], "no model writes this")


def shortest_with(completion: Completion, strings: tuple[str, ...], tokenizer: PreTrainedTokenizerBase) -> int:
    """The length of the shortest part that contains a string, decoding every part from its start."""
    ids = completion.token_ids
    parts = (n for n in range(1, len(ids) + 1) if any(s in tokenizer.decode(ids[:n], True) for s in strings))
    return next(parts, len(ids))


@pytest.mark.parametrize("max_concurrent", [1, 5, 512])
def test_completions_are_those_without_stop_strings_up_to_the_first(
    model, tokenizer, requests, complete, strings, max_concurrent
) -> None:
    engine = NativeEngine(model, tokenizer, max_concurrent)
    finished: list[Completion] = []
    stopped = engine.generate(requests, SamplingParams(SEED, CAP, stop=strings), finished.append)
    assert len(finished) == len(stopped) == len(complete)
    shorter = 0
    for full, cut in zip(complete, stopped, strict=True):
        length = shortest_with(full, strings, tokenizer)
        assert cut.token_ids == full.token_ids[:length]
        assert cut.logprobs == pytest.approx(full.logprobs[:length], abs=1e-12), "of the complete distribution"
        if length < len(full.token_ids):
            shorter += 1
            assert cut.finish_reason == "stop"
            assert cut.text == tokenizer.decode(cut.token_ids, skip_special_tokens=True)
            assert any(s in cut.text for s in strings), "the stop string is kept, so rewards see it"
        else:
            assert cut.text == full.text
    assert shorter >= 6


def test_stopped_completions_are_trained_on_completely(model, tokenizer, requests, complete, strings) -> None:
    stopped = NativeEngine(model, tokenizer).generate(requests, SamplingParams(SEED, CAP, stop=strings))[:4]
    batch = make_batch([requests[0].token_ids], [stopped], torch.ones(1, 4), temperature=1.0, mask_truncated=True)
    counts = [len(c.token_ids) if c.finish_reason == "stop" else 0 for c in stopped]
    assert batch.completion_mask_BT.sum(1).tolist() == counts and sum(counts) > 0


def test_stop_string_may_span_tokens_blocks_and_parts_of_characters(tokenizer) -> None:
    text = "so 数=5 </answer> and more </answer>"
    ids = tokenizer.encode(text, add_special_tokens=False)
    for stop in ("</answer>", "数", "=5 </a"):
        length = shortest_with(Completion("p", 0, tuple(ids), (), "", "stop"), (stop,), tokenizer)
        for block in (1, 3, 8, 999):
            found = None
            for start in range(0, len(ids), block):
                found = stop_length(ids[: start + block], start, (stop,), tokenizer)
                if found is not None:
                    break
            assert found == length, f"{stop} in blocks of {block}"
    assert stop_length(ids, 0, ("<answer>",), tokenizer) is None
    assert stop_length(ids, 0, (), tokenizer) is None


def test_scripted_engine_stops_too(tokenizer) -> None:
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: "one STOP two")
    [completion] = engine.generate([Request("p", (1,))], SamplingParams(0, 99, stop=("STOP",)))
    assert completion.text.rstrip() == "one STOP" and completion.finish_reason == "stop"


def test_generation_stops_at_the_end_of_turn_of_the_chat_template(make_decoder) -> None:
    """Qwen2.5's base models list <|endoftext|> alone, but their chat template ends turns with <|im_end|>."""
    tokenizer = tokenizer_of("qwen2.5-base")
    end, turn = (tokenizer.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|im_end|>"))
    model = make_decoder(2, vocab_size=len(tokenizer), eos_token_ids=(end,))
    assert stop_tokens(model.config, tokenizer) == {end, turn}
    with torch.no_grad():
        model.embed.weight[[end, turn]] += model.embed.weight.std()
    completions = NativeEngine(model, tokenizer).generate([Request("p", (7, 8, 9), 40)], SamplingParams(0, 60))
    assert {c.token_ids[-1] for c in completions if c.finish_reason == "stop"} == {end, turn}
    assert not any({end, turn} & set(c.token_ids[:-1]) for c in completions)
