"""The curate stage on the bundled base: what it makes, that sft can read it, and that a killed one ends in the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1kit.config import Curate
from r1kit.data.examples import conversation, read_sources
from r1kit.data.store import DataError, write_jsonl
from r1kit.evals.filters import REASONS, unreadable
from r1kit.model.reference import ASSETS
from r1kit.recipe import RecipeError, load_recipe
from r1kit.stages import curate
from r1kit.stages.context import StageContext

ZERO = {"template": "r1-zero", "samples": 8, "max_completion_length": 64, "rewriter": "oracle:sprout"}
PROMPTS = [{"source": "world:arithmetic", "max_level": 1, "limit": 6}]
EVALS = {"sums": [{"source": "world:arithmetic", "split": "held_out", "max_level": 1, "limit": 50}]}


def config_of(**changes: object) -> Curate:
    return Curate(**{"kind": "curate", "model": "base", "prompts": PROMPTS, **ZERO, **changes})


def context(directory: Path) -> StageContext:
    return StageContext("cold", directory, 5, "float32", "cpu", 64, {"base": ASSETS / "sprout-base"})


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def data_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "data").iterdir()}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Other data: a question of an evaluation set, a conversation, a duplicate."""
    from r1kit.data.problems import load_problems

    held_out = load_problems(config_of(benchmarks=EVALS).benchmarks["sums"])[0].question
    turns = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    rows = [{"prompt": held_out, "response": "7"}, {"messages": [*turns, {"role": "assistant", "content": "d"}]}]
    write_jsonl(tmp_path / "others.jsonl", [*rows, {"prompt": "A", "response": "e"}, {"prompt": "a ", "response": "e"}])
    return tmp_path / "others.jsonl"


def test_killed_and_run_again_it_ends_in_the_same_bits(
    tmp_path: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curate, "BLOCK", 2)
    config = config_of(data=[str(mixed)], data_share=0.5, benchmarks=EVALS)
    summary = curate.run(config, context(tmp_path / "whole"))
    whole, ask, calls = data_of(tmp_path / "whole"), curate.ask, []

    def stopping(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ask(*args)

    monkeypatch.setattr(curate, "ask", stopping)
    with pytest.raises(KeyboardInterrupt):
        curate.run(config, context(tmp_path / "stopped"))
    assert not (tmp_path / "stopped" / "data").exists()
    assert curate.run(config, context(tmp_path / "stopped")) == summary
    assert data_of(tmp_path / "stopped") == whole and len(calls) == 4, "what was done is not done again"

    kept, rejected = (lines(tmp_path / "whole/data" / f"{name}.jsonl") for name in ("kept", "rejected"))
    card = json.loads(whole["card.json"])
    assert set(whole) == {"kept.jsonl", "rejected.jsonl", "card.json", "card.md"}
    assert card["sampled"] == 48 and card["kept"] + card["mixed_in"] == len(kept) == summary["records"]
    assert card["kept"] + sum(card["rejected"].values()) == 48 + 2, "a reason for everything else"
    assert {row["reason"] for row in rejected} <= set(REASONS) and card["rejected"]["wrong"] > 5
    own = [row for row in kept if "original" in row]
    assert 1 <= len(own) == card["kept"] <= 6 and len({row["prompt_id"] for row in own}) == len(own)
    assert all("<answer>" in row["original"] and "\\boxed" in row["response"] for row in own)
    assert not any(unreadable(row["response"], row["language"], ("en", "zh")) for row in own)
    others = [row for row in rejected if row["domain"] == "general"]
    assert [row["reason"] for row in others] == ["contaminated", "duplicate"]
    read = [conversation(row, where) for where, row in read_sources([tmp_path / "whole/data/kept.jsonl"])]
    assert len(read) == len(kept) and all(answer for _, answer in read)


def test_a_budget_ends_the_asking_and_a_prompt_of_an_evaluation_set_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curate, "BLOCK", 1)
    held_out = [{"source": "world:arithmetic", "split": "held_out", "max_level": 1, "limit": 1}]
    config = config_of(prompts=held_out + PROMPTS, token_budget=100, benchmarks=EVALS, samples=16)
    summary = curate.run(config, context(tmp_path))
    assert summary["rejected"]["contaminated"] == 1 and 16 <= summary["sampled"] < 7 * 16
    (blocked,) = [row for row in lines(tmp_path / "data/rejected.jsonl") if row["reason"] == "contaminated"]
    assert blocked["benchmark"] == "sums" and blocked["samples"] == 0


def test_pairs_and_labels_for_the_reward_models(tmp_path: Path) -> None:
    settings = {"rewriter": None, "judge": "oracle:sprout", "max_completion_length": 32}
    talk = [{"source": "world:talk", "limit": 120}]
    curate.run(config_of(prompts=talk, makes="pairs", **settings), context(tmp_path / "pairs"))
    pairs, rejected = (lines(tmp_path / "pairs/data" / f"{name}.jsonl") for name in ("kept", "rejected"))
    assert pairs and all(row["difference"] > 1 and row["chosen"] != row["rejected"] for row in pairs)
    assert {row["reason"] for row in rejected} <= {"truncated", "repetition", "unclear", "length", "surplus"}
    curate.run(config_of(prompts=["world:safety"], makes="labels", **settings), context(tmp_path / "labels"))
    labels = lines(tmp_path / "labels/data/kept.jsonl")
    assert labels and all(isinstance(row["safe"], bool) for row in labels)


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not one of 8 answers can be used \(8 truncated\)"):
        config = config_of(prompts=[{"source": "world:logic", "limit": 1}], max_completion_length=1)
        curate.run(config, context(tmp_path))


RECIPE = """
name = "c"
[stage.cold]
kind = "curate"
model = "sprout-base"
prompts = ["world:logic"]
data = ["world:talk"]
[stage.dev1]
kind = "sft"
model = "sprout-base"
data = ["cold", "world:safety"]
"""


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ('stage.cold.makes="pairs"', 'stage.cold: makes = "pairs" needs a judge: "oracle:sprout"'),
        ('stage.cold.data=["world:logic"]', 'stage.cold.data[0] = "world:logic": unknown world of records; allowed: talk'),
        ('stage.cold.prompts=["world:tallk"]', 'stage.cold.prompts[0] = "world:tallk": unknown world; did you mean talk?'),
        ("stage.cold.ngrams=3", "stage.cold.ngrams: unknown key; did you mean ngram?"),
    ],
)
def test_recipes(tmp_path: Path, change: str, mistake: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(RECIPE)
    cold = load_recipe(str(path)).stage["cold"]
    assert (cold.temperature, cold.data_share, cold.ngram, cold.max_completion_length) == (1.0, 0.25, 10, 32_768)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path), [change])
    assert mistake in str(caught.value)
