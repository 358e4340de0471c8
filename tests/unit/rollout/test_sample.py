"""Sampling completions of prompts."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from r1kit.config import Evaluate, Prompting
from r1kit.data.prompt import Prompt, make_prompt, make_prompts
from r1kit.engine.base import SamplingParams
from r1kit.engine.factory import load_live_engine
from r1kit.engine.live import scripted
from r1kit.engine.live.base import LiveRequest
from r1kit.engine.scripted import ScriptedEngine
from r1kit.model.reference import resolve_model
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
    monkeypatch.setattr(scripted, "STEP_TOKENS", 1)  # so that a character arrives in several pieces
    engine = scripted.ScriptedLiveEngine(tokenizer, lambda prompt_id, sample: texts[sample])
    monkeypatch.setattr("r1kit.rollout.sample.load_live_engine", lambda *args, **options: (engine, tokenizer))
    config = Evaluate(kind="evaluate", model="m", benchmarks={"b": ["a.jsonl"]})
    pieces = list(stream_samples(tmp_path, ["q", "r"], Prompting(template="none"), config, 2, 50, 0, "cpu", "float32"))
    assert len(pieces) > 10 and not any("\ufffd" in piece.text for piece in pieces)
    for place in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        assert "".join(piece.text for piece in pieces if piece[:2] == place) == texts[place[1]]
    assert [piece[:2] for piece in pieces] == sorted(piece[:2] for piece in pieces), "one after the other"


def test_streamed_samples_are_those_of_a_live_engine_at_work(tmp_path) -> None:
    """What is served with a seed is what `r1kit sample --seed` prints."""
    directory = resolve_model("sprout-base")
    config = Evaluate(kind="evaluate", model="m", benchmarks={"b": ["a.jsonl"]}, temperature=0.9, top_p=0.95)
    style, question = Prompting(template="r1-zero"), "What is 12 * 7?"
    pieces = list(stream_samples(directory, [question], style, config, 2, 40, 5, "cpu", "float32"))
    engine, tokenizer = load_live_engine(directory, "cpu", "float32")
    prompt = make_prompt(Problem("question", question, ""), style, tokenizer)
    engine.add(LiveRequest("other", prompt.token_ids[:9], SamplingParams(0, 60, 1.2), samples=3))
    engine.step()
    engine.add(LiveRequest("served", prompt.token_ids, sampling_params(config, 5, 40), samples=2))
    token_ids: dict[int, list[int]] = {0: [], 1: []}
    while engine.has_work:
        for delta in engine.step():
            if delta.id == "served":
                token_ids[delta.sample] += delta.token_ids
    for sample, ids in token_ids.items():
        text = "".join(piece.text for piece in pieces if piece.sample == sample)
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
