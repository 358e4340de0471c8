"""The curate stage with the bundled base model: its data sets, and resuming it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers_of_families import tokenizer_of

from r1kit.config import Curate
from r1kit.data.examples import conversation, read_sources
from r1kit.data.problems import load_problems
from r1kit.data.prompt import Prompt
from r1kit.data.store import DataError, write_jsonl
from r1kit.engine.base import Engine
from r1kit.engine.scripted import ScriptedEngine
from r1kit.evals.filters import REASONS, why_unreadable
from r1kit.model.reference import ASSETS
from r1kit.recipe import RecipeError, load_recipe
from r1kit.stages import curate
from r1kit.stages.context import StageContext

ZERO = {"template": "r1-zero", "samples": 8, "max_completion_length": 64, "rewriter": "oracle:sprout"}
PROMPTS = [{"source": "world:arithmetic", "max_level": 1, "limit": 6}]
JUDGED = {"rewriter": None, "judge": "oracle:sprout", "max_completion_length": 32}
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
def other_data(tmp_path: Path) -> Path:
    """Records with a benchmark question, a conversation and a duplicate."""
    held_out = load_problems(config_of(benchmarks=EVALS).benchmarks["sums"])[0].question
    turns = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    rows = [{"prompt": held_out, "response": "7"}, {"messages": [*turns, {"role": "assistant", "content": "d"}]}]
    write_jsonl(tmp_path / "others.jsonl", [*rows, {"prompt": "A", "response": "e"}, {"prompt": "a ", "response": "e"}])
    return tmp_path / "others.jsonl"


def test_records_are_rewritten_and_mixed_with_other_data(tmp_path: Path, other_data: Path) -> None:
    config = config_of(data=[str(other_data)], data_share=0.5, benchmarks=EVALS)
    summary = curate.run(config, context(tmp_path))
    kept, rejected = (lines(tmp_path / "data" / f"{name}.jsonl") for name in ("kept", "rejected"))
    card = json.loads((tmp_path / "data/card.json").read_text())
    assert set(data_of(tmp_path)) == {"kept.jsonl", "rejected.jsonl", "card.json", "card.md"}
    assert card["sampled"] == 48 and card["kept"] + card["mixed_in"] == len(kept) == summary["records"]
    assert card["kept"] + sum(card["rejected"].values()) == 48 + 2, "every row is kept or has a reason"
    assert {row["reason"] for row in rejected} <= set(REASONS) and card["rejected"]["wrong"] > 5
    own = [row for row in kept if "original" in row]
    assert 1 <= len(own) == card["kept"] <= 6 and len({row["prompt_id"] for row in own}) == len(own)
    assert all("<answer>" in row["original"] and "\\boxed" in row["response"] for row in own)
    assert not any(why_unreadable(row["response"], row["language"], ("en", "zh")) for row in own)
    others = [row for row in rejected if row["domain"] == "general"]
    assert [row["reason"] for row in others] == ["contaminated", "duplicate"]


def test_sft_can_read_the_records(tmp_path: Path, other_data: Path) -> None:
    curate.run(config_of(data=[str(other_data)], data_share=0.5), context(tmp_path))
    path = tmp_path / "data/kept.jsonl"
    conversations = [conversation(row, where) for where, row in read_sources([path])]
    assert len(conversations) == len(lines(path)) and all(answer for _, answer in conversations)
    assert any(len(messages) == 3 for messages, _ in conversations), "one of the records has several turns"


def test_resumed_stage_gives_identical_data(tmp_path: Path, other_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curate, "BLOCK", 2)
    config = config_of(data=[str(other_data)], data_share=0.5, benchmarks=EVALS)
    summary = curate.run(config, context(tmp_path / "complete"))
    sample, calls = curate.sample_groups, []

    def interrupted(*args: object) -> Iterator[object]:
        calls.append(args)
        for number, group in enumerate(sample(*args)):
            if len(calls) == 1 and number == 5:
                raise KeyboardInterrupt
            yield group

    monkeypatch.setattr(curate, "sample_groups", interrupted)
    with pytest.raises(KeyboardInterrupt):
        curate.run(config, context(tmp_path / "resumed"))
    assert not (tmp_path / "resumed" / "data").exists()
    assert curate.run(config, context(tmp_path / "resumed")) == summary
    assert data_of(tmp_path / "resumed") == data_of(tmp_path / "complete")
    (_, first, *_), (_, again, *_) = calls
    assert len(again) < len(first), "finished blocks are not sampled again"


def test_blocks_are_written_while_others_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The completions of the first block take the longest: the second block does not wait for them."""
    monkeypatch.setattr(curate, "BLOCK", 2)
    sample, written = curate.sample_groups, []

    def second_block_first(engine: Engine, prompts: list[Prompt], *args: object) -> Iterator[object]:
        groups = sorted(sample(engine, prompts, *args), key=lambda group: prompts.index(group[0]))
        for group in [*groups[2:4], *groups[:2], *groups[4:]]:
            written.append(sorted(path.name for path in (tmp_path / "checkpoints").glob("*")))
            yield group

    monkeypatch.setattr(curate, "sample_groups", second_block_first)
    curate.run(config_of(), context(tmp_path))
    blocks = [f"block_00000{number}.jsonl" for number in range(3)]
    assert written == [[], [], blocks[1:2], blocks[1:2], blocks[:2], blocks[:2]]


def test_token_budget_ends_sampling_and_benchmark_prompts_are_not_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curate, "BLOCK", 1)
    held_out = [{"source": "world:arithmetic", "split": "held_out", "max_level": 1, "limit": 1}]
    config = config_of(prompts=held_out + PROMPTS, token_budget=100, benchmarks=EVALS, samples=16)
    summary = curate.run(config, context(tmp_path))
    assert summary["rejected"]["contaminated"] == 1 and 16 <= summary["sampled"] < 7 * 16
    (blocked,) = [row for row in lines(tmp_path / "data/rejected.jsonl") if row["reason"] == "contaminated"]
    assert blocked["benchmark"] == "sums" and blocked["samples"] == 0


@pytest.mark.slow
def test_pairs_have_a_clear_preference(tmp_path: Path) -> None:
    talk = [{"source": "world:talk", "limit": 120}]
    config = config_of(prompts=talk, makes="pairs", **JUDGED)
    curate.run(config, context(tmp_path))
    pairs, rejected = (lines(tmp_path / "data" / f"{name}.jsonl") for name in ("kept", "rejected"))
    assert pairs and all(row["difference"] > 1 and row["chosen"] != row["rejected"] for row in pairs)
    assert {row["reason"] for row in rejected} <= {"truncated", "repetition", "unclear", "length", "surplus"}


@pytest.mark.slow
def test_labels_are_safe_or_unsafe(tmp_path: Path) -> None:
    curate.run(config_of(prompts=["world:safety"], makes="labels", **JUDGED), context(tmp_path))
    labels = lines(tmp_path / "data/kept.jsonl")
    assert labels and all(isinstance(row["safe"], bool) for row in labels)


def test_base_models_can_be_sampled_with_template_chat(tmp_path: Path) -> None:
    safety = [{"source": "world:safety", "limit": 3}]
    curate.run(config_of(prompts=safety, makes="labels", template="chat", **JUDGED), context(tmp_path))
    assert lines(tmp_path / "data/kept.jsonl")


def test_error_without_any_usable_completion_counts_the_reasons(tmp_path: Path) -> None:
    config = config_of(prompts=[{"source": "world:logic", "limit": 1}], max_completion_length=1)
    with pytest.raises(DataError, match=r"none of 8 completions can be used.*\n +8 truncated: cut off by max_comp"):
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


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "c.toml").write_text(RECIPE)
    return str(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ('stage.cold.makes="pairs"', 'stage.cold: makes = "pairs" needs a judge: "oracle:sprout"'),
        (
            'stage.cold.data=["world:logic"]',
            'stage.cold.data[0] = "world:logic": unknown world of records; allowed: talk',
        ),
        (
            'stage.cold.prompts=["world:tallk"]',
            'stage.cold.prompts[0] = "world:tallk": unknown world; did you mean talk?',
        ),
        ("stage.cold.ngrams=3", "stage.cold.ngrams: unknown key; did you mean ngram?"),
    ],
)
def test_mistakes_in_a_curate_stage_are_named(recipe: str, change: str, mistake: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [change])
    assert mistake in str(caught.value)


def test_defaults_are_the_papers(recipe: str) -> None:
    cold = load_recipe(recipe).stage["cold"]
    assert (cold.temperature, cold.data_share, cold.ngram, cold.max_completion_length) == (1.0, 0.25, 10, 32_768)


def curated_in_chat(family: str, directory: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, object]:
    """Curate the completions `text` and "No idea." of a chat model of this family."""
    tokenizer = tokenizer_of(family)
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: "No idea." if sample else text)
    monkeypatch.setattr(curate, "load_engine", lambda *_: (engine, tokenizer))
    write_jsonl(directory / "sums.jsonl", [{"question": "7+6?", "answer": "13"}])
    prompts = [{"source": str(directory / "sums.jsonl")}]
    return curate.run(config_of(prompts=prompts, template="chat", rewriter=None, samples=2), context(directory))


def test_instruct_model_without_think_tags_yields_records(tmp_path: Path, monkeypatch, capsys) -> None:
    summary = curated_in_chat("qwen2.5-base", tmp_path, monkeypatch, "7 and 6 are \\boxed{13}.")
    assert (summary["kept"], summary["rejected"]) == (1, {"wrong": 1})
    [record] = lines(tmp_path / "data/kept.jsonl")
    assert record["response"] == "7 and 6 are \\boxed{13}."
    assert "kept 1 of 2 completions; removed\n       1 wrong: wrong answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("r1-distill", "\\boxed{13}"),  # the template opens the think tag
        ("qwen2.5-base", "</think> \\boxed{13}"),  # broken tags are no plain answer
    ],
)
def test_filters_that_removed_everything_are_named(tmp_path: Path, monkeypatch, family: str, text: str) -> None:
    expected = "format: not reasoning in think tags" if family == "qwen2.5-base" else "wrong: wrong answer"
    with pytest.raises(DataError, match=rf"none of 2 completions can be used. The filters removed\n[^$]*{expected}"):
        curated_in_chat(family, tmp_path, monkeypatch, text)
