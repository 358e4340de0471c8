"""Sampling completions of prompts."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from r1kit.config import Evaluate, Prompting
from r1kit.data.prompt import Prompt, make_prompts
from r1kit.engine.base import SamplingParams
from r1kit.engine.scripted import ScriptedEngine
from r1kit.rollout.sample import sample_completions, sampling_params, stream_samples
from r1kit.types import Completion, Problem


def prompts_of(ids: str, tokenizer: PreTrainedTokenizerBase) -> list[Prompt]:
    return make_prompts([Problem(each, f"question {each}", "") for each in ids], Prompting(template="none"), tokenizer)


def test_completions_are_grouped_by_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: f"{prompt_id}{sample}")
    groups = sample_completions(engine, prompts_of("ab", tokenizer), 3, SamplingParams(0, 99))
    assert [[completion.text for completion in group] for group in groups] == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]


def test_repeated_problem_gets_new_samples(tokenizer: PreTrainedTokenizerBase) -> None:
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: f"{prompt_id}{sample}")
    groups = sample_completions(engine, prompts_of("aba", tokenizer), 2, SamplingParams(0, 99))
    assert [[completion.text for completion in group] for group in groups] == [["a0", "a1"], ["b0", "b1"], ["a2", "a3"]]


def test_engine_gets_the_tokens_of_the_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    class Recording(ScriptedEngine):
        def generate(self, requests, params, finished=None):
            self.requests = requests
            return super().generate(requests, params, finished)

    engine = Recording(tokenizer, lambda prompt_id, sample: "")
    prompts = prompts_of("ab", tokenizer)
    sample_completions(engine, prompts, 2, SamplingParams(0, 99))
    assert [request.token_ids for request in engine.requests] == [prompt.token_ids for prompt in prompts]


def test_on_finished_receives_every_completion(tokenizer: PreTrainedTokenizerBase) -> None:
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: f"{prompt_id}{sample}")
    finished: list[Completion] = []
    groups = sample_completions(engine, prompts_of("ab", tokenizer), 2, SamplingParams(0, 99), finished.append)
    assert finished == [completion for group in groups for completion in group]


def test_sampling_params_of_a_config() -> None:
    config = Evaluate(kind="evaluate", model="m", benchmarks={"b": ["a.jsonl"]}, temperature=0.5, top_p=0.9, top_k=7)
    assert sampling_params(config, seed=3, max_tokens=20) == SamplingParams(3, 20, 0.5, 0.9, 7)


def test_stream_samples_yields_complete_characters(tokenizer: PreTrainedTokenizerBase, monkeypatch, tmp_path) -> None:
    texts = ["1. 数 = 5", "second"]

    class BytewiseEngine(ScriptedEngine):
        """Yields one token at a time, so that a character may arrive in several pieces."""

        def stream(self, requests, params):
            for delta in super().stream(requests, params):
                for token in delta.token_ids:
                    yield type(delta)(delta.prompt_id, delta.sample, [token])

    engine = BytewiseEngine(tokenizer, lambda prompt_id, sample: texts[sample])
    monkeypatch.setattr("r1kit.rollout.sample.load_engine", lambda *args, **options: (engine, tokenizer))
    config = Evaluate(kind="evaluate", model="m", benchmarks={"b": ["a.jsonl"]})
    pieces = list(stream_samples(tmp_path, ["q", "r"], Prompting(template="none"), config, 2, 50, 0, "cpu", "float32"))
    assert len(pieces) > 10 and not any("\ufffd" in piece.text for piece in pieces)
    for place in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        assert "".join(piece.text for piece in pieces if piece[:2] == place) == texts[place[1]]
    assert [piece[:2] for piece in pieces] == sorted(piece[:2] for piece in pieces), "one after the other"
