"""Curated episodes: records keep who wrote what, and sft trains on the policy's turns only."""

from __future__ import annotations

import copy
import json
from itertools import compress
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from r1kit.config import Curate
from r1kit.data.examples import encode, episode_of, prompt_of_episode, read_sources
from r1kit.data.prompt import Prompt
from r1kit.data.store import DataError, write_jsonl
from r1kit.data.template import set_template
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.environments.base import Message
from r1kit.environments.scripted import Scripted
from r1kit.evals.curation import Row, choose, make_row
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.reference import ASSETS
from r1kit.rollout.episodes import EpisodeEngine
from r1kit.stages import curate, curate_review
from r1kit.stages.context import StageContext
from r1kit.types import ASSISTANT, Completion, Problem, Span

OWN = """
def again(problem, turns):
    return " Once more: " if len(turns) < 2 else float(len(turns[0]) % 2)
again.stop = ("e", "a", "i", "=")
"""
KEYS = dict(kind="curate", model="base", prompts=["problems.jsonl"], template="none", samples=4, keep=4)
KEYS |= dict(max_completion_length=48, environment="curated_again:again", data=["world:guess"], data_share=0.5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "curated_again.py").write_text(OWN)
    rows = [{"question": f"What is 3+{i}?", "answer": "-", "verifier": "environment"} for i in range(6)]
    write_jsonl(tmp_path / "problems.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def context(directory: Path) -> StageContext:
    grading = {"folder": str(directory.parent), "timeout": 60.0}
    models = {"base": ASSETS / "sprout-base"}
    return StageContext("cold", directory, 5, "float32", "cpu", 64, models, grading=grading)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_records_are_the_episodes_that_the_environment_found_right(folder: Path) -> None:
    curate.run(Curate(**KEYS), context(folder / "straight"))
    kept, rejected = (lines(folder / "straight/data" / f"{name}.jsonl") for name in ("kept", "rejected"))
    own = [row for row in kept if row["domain"] != "general"]
    assert own and all("response" not in row for row in kept)
    for row in own:
        roles = [message["role"] for message in row["episode"]]
        assert roles == [ASSISTANT, "environment", ASSISTANT] and row["episode"][1]["content"] == " Once more: "
        assert len(row["episode"][0]["content"]) % 2 == 1, "the environment found it right"
    assert any(row["reason"] == "wrong" and len(row["episode"][0]["content"]) % 2 == 0 for row in rejected)
    assert any(row["domain"] == "general" and "episode" in row for row in kept), "mixed with other episodes"
    assert all(episode_of(row, where) for where, row in read_sources([folder / "straight/data/kept.jsonl"]))


@pytest.mark.slow
def test_an_interrupted_stage_gives_the_same_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curate, "BLOCK", 2)
    config = Curate(**KEYS)
    curate.run(config, context(folder / "straight"))
    path = sorted((folder / "straight/checkpoints").glob("block_*"))[1]
    target = folder / "resumed/checkpoints" / path.name
    target.parent.mkdir(parents=True)
    target.write_bytes(path.read_bytes())
    curate.run(config, context(folder / "resumed"))
    assert (folder / "resumed/data/kept.jsonl").read_bytes() == (folder / "straight/data/kept.jsonl").read_bytes()


def test_sft_trains_on_the_turns_as_they_were_sampled() -> None:
    tokenizer = load_tokenizer(ASSETS / "sprout-base")
    set_template(tokenizer, "chat")
    model = load_model(ASSETS / "sprout-base", torch.float32, "cpu")
    text = "User: Guess.\n\nAssistant:\n"
    problem = Problem("p", "Guess.", "5")
    script = Scripted(lambda problem, seed: [Message("One.", "user"), Message("Two.", "user")], stop=("=", "."))
    engine = EpisodeEngine(NativeEngine(model, tokenizer), script, 60)
    params = SamplingParams(seed=1, max_tokens=200)
    completions = engine.generate([Request("p", tuple(tokenizer.encode(text)), 8, problem=problem)], params)
    several = [each for each in completions if each.finish_reason == "stop" and len(each.spans) == 5]
    assert several
    for completion in several:
        episode = curate_review._episode(Prompt(problem, text, ()), completion)
        assert [m["content"] for m in episode[1::2]] == ["One.", "Two."]
        (document,) = encode([(text, episode)], tokenizer, close=True)
        trained = document.tokens[document.prompt_length :][~document.read[document.prompt_length :]]
        # A turn that a stop text ends has no EOS of its own; records end every turn with it.
        sampled = tokenizer.decode([*compress(completion.token_ids, completion.sampled)], skip_special_tokens=True)
        assert tokenizer.decode(trained, skip_special_tokens=True) == sampled


def test_a_prompt_that_opens_the_think_tag_is_completed() -> None:
    completion = Completion("p", 0, (1,), (0.0,), "b", "stop", spans=(Span(ASSISTANT, 1, "a</think>b"),))
    prompt = Prompt(Problem("p", "q", "a"), "q<think>", (), think_open=True)
    assert curate_review._episode(prompt, completion) == [{"role": ASSISTANT, "content": "<think>a</think>b"}]


def test_the_prompt_of_a_record_shows_its_conversation_and_tools(tokenizer) -> None:
    tool = {"type": "function", "function": {"name": "shout", "description": "Shout.", "parameters": {}}}
    messages = ({"role": "system", "content": "S"}, {"role": "user", "content": "U"})
    problem = Problem("p", "U", "a", messages=messages, tools=(tool,))
    row = make_row(problem, {"sample": 0, "samples": 1, "tokens": 1, "response": "r", "reason": ""}, 1)
    asked = copy.deepcopy(tokenizer)
    asked.chat_template = "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{{ messages[0].content }}"
    assert prompt_of_episode(row, "row", "chat", asked) == "shoutS"
    with pytest.raises(DataError, match='row: tools need template = "chat", not "none"'):
        prompt_of_episode(row, "row", "none", asked)


def test_episodes_that_differ_in_a_turn_are_no_duplicates() -> None:
    def row(number: int, first: str) -> Row:
        review = {"sample": number, "samples": 1, "tokens": 1, "response": "end", "reason": ""}
        return make_row(Problem("p", "q", "a"), {**review, "episode": [{"role": ASSISTANT, "content": first}]}, 1)

    reasons = [each["reason"] for each in choose([row(0, "one"), row(1, "two"), row(2, "ONE ")], 3, 0)]
    assert reasons == ["", "", "duplicate"]


def test_episodes_are_neither_rewritten_nor_paired() -> None:
    with pytest.raises(ValidationError, match="environment with rewriter: episodes become records as they are"):
        Curate(**KEYS, rewriter="oracle:rules")
    with pytest.raises(ValidationError, match='environment with makes = "pairs"'):
        Curate(**{**KEYS, "data": []}, makes="pairs", judge="oracle:sprout")
