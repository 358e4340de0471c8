"""Rollouts: dynamic sampling, metrics, and the copy in a checkpoint."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from r1kit.config import RL, Prompting
from r1kit.data import prompt as prompt_module
from r1kit.data.prompt import Prompt, make_prompt
from r1kit.data.template import render_prompt
from r1kit.engine.scripted import ScriptedEngine
from r1kit.learn.checkpoint import read_progress, write_progress
from r1kit.rollout.group import Group, Rollout
from r1kit.stages import rl_rollout
from r1kit.stages.context import StageContext
from r1kit.stages.rl_prompts import RLPrompts
from r1kit.stages.rl_rewards import RLRewards
from r1kit.stages.rl_rollout import collect, completion_rows, metrics, minibatches, pack, unpack
from r1kit.types import Completion, Problem, Score

GOOD, BAD = "<think>so</think> yes", "no"
KEYS = {"kind": "rl", "model": "m", "prompts": [{"source": "world:logic", "limit": 40}], "template": "none"}
KEYS |= {"steps_per_rollout": 1, "prompts_per_step": 2, "num_generations": 2, "max_completion_length": 99}


def collected(config: RL, directory: Path, tokenizer: PreTrainedTokenizerBase, script) -> Rollout:
    context = StageContext("r1", directory, 3, "float32", "cpu", 8, {})
    prompts = RLPrompts(config, context.seed)
    rewards = RLRewards(config, context, prompts)
    return collect(ScriptedEngine(tokenizer, script), tokenizer, prompts, rewards, config, seed=3, cursor=0, step=0)


def group(*scores: Score, rewards: tuple[float, ...] | None = None) -> Group:
    completions = [Completion("p", i, (1, 2), (0.0, 0.0), "text", "stop") for i in range(len(scores))]
    totals = rewards or tuple(score.total for score in scores)
    return Group(Prompt(Problem("p", "q", "a"), "q", (1,)), completions, scores, totals)


def test_rollout_holds_the_prompts_of_its_groups(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    config = RL(**KEYS, rewards={"format": 1.0})
    rollout = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: (GOOD, BAD)[sample])
    assert len(rollout.sampled) == 2 and rollout.selected == rollout.sampled
    for each in rollout.sampled:
        assert each.prompt == make_prompt(each.problem, Prompting(template="none"), tokenizer)
        assert list(each.rewards) == [1.0, 0.0] and each.has_variance


def test_prompts_are_rendered_once(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def render(question: str, *args: object) -> str:
        rendered.append(question)
        return render_prompt(question, *args)

    monkeypatch.setattr(prompt_module, "render_prompt", render)
    config = RL(**KEYS, rewards={"accuracy": 1.0, "format": 1.0})
    rollout = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: GOOD)
    assert rendered == [each.problem.question for each in rollout.sampled]


def test_dynamic_sampling_continues_until_enough_groups_have_variance(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    config = RL(**KEYS, rewards={"format": 1.0}, dynamic_sampling=True)
    first = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: GOOD).sampled[0].problem.id
    rollout = collected(
        config, tmp_path, tokenizer, lambda prompt_id, sample: GOOD if prompt_id == first or sample else BAD
    )
    assert [each.has_variance for each in rollout.sampled] == [False, True, True, True]
    assert rollout.selected == rollout.sampled[1:3]


def test_dynamic_sampling_stops_after_a_few_rounds(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    config = RL(**KEYS, rewards={"format": 1.0}, dynamic_sampling=True)
    rollout = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: GOOD)
    assert len(rollout.sampled) == 4 * 2 and rollout.selected == rollout.sampled[:2]


def test_dynamic_sampling_fills_the_last_update(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """One group with variance among eight: its update has two groups, as every other one."""
    config = RL(**KEYS, rewards={"format": 1.0}, dynamic_sampling=True)
    first = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: GOOD).sampled[3].problem.id
    rollout = collected(
        config, tmp_path, tokenizer, lambda prompt_id, sample: BAD if prompt_id == first and sample else GOOD
    )
    assert [each.has_variance for each in rollout.selected] == [True, False]
    assert rollout.selected == [rollout.sampled[3], rollout.sampled[0]]


def test_updates_before_the_general_prompts_have_none_of_them(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    general = [{"prompts": ["world:safety"], "rewards": {"format": 1.0}}]
    keys = {**KEYS, "steps_per_rollout": 6, "prompts_per_step": 4, "rewards": {"format": 1.0}, "general": general}
    config = RL(**keys, steps=6, general_steps=2)
    rollout = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: GOOD)
    prompts = RLPrompts(config, 3)
    updates = minibatches(rollout, config, prompts, seed=3)
    counts = [sum(prompts.is_general(each.problem) for each in update) for update in updates]
    assert [len(update) for update in updates] == [4] * 6
    assert counts[:4] == [0] * 4 and sum(counts[4:]) == 4
    assert [each for update in updates for each in update] != rollout.selected, "updates are shuffled"


def test_metrics_of_a_rollout_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(rl_rollout, "repetition", lambda token_ids: calls.append(token_ids) or 0.0)
    rollout = Rollout(0, [group(Score(1.0, {}), Score(0.0, {}))])
    assert metrics(rollout, ["accuracy"]) == metrics(rollout, ["accuracy"]) and len(calls) == 2


def test_overlong_penalty_is_part_of_the_reward(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    config = RL(**KEYS | {"max_completion_length": 20}, rewards={"format": 1.0}, overlong_buffer=19)
    rollout = collected(config, tmp_path, tokenizer, lambda prompt_id, sample: BAD * (1 + sample))
    (short, longer) = rollout.sampled[0].rewards
    assert rollout.sampled[0].scores[0].total == 0 and longer < short < 0


def test_metrics_leave_out_completions_without_a_grade() -> None:
    right, wrong = Score(1.0, {"accuracy": 1.0}), Score(0.0, {"accuracy": 0.0})
    failed = Score(0.0, {"accuracy": 0.0}, None, "the sandbox failed", True)
    groups = [group(right, failed), group(right, wrong)]
    values = metrics(Rollout(0, groups, groups), ["accuracy"])
    assert values["reward"] == values["rewards/accuracy/mean"] == pytest.approx(2 / 3)
    assert values["frac_reward_zero_std"] == 0.5
    assert (values["completions/ungraded"], values["ungraded_reason"]) == (0.25, "the sandbox failed")


def test_metrics_have_only_the_rewards_that_were_given() -> None:
    groups = [group(Score(1.0, {"accuracy": 1.0}), Score(0.0, {"accuracy": 0.0}))]
    names = [name for name in metrics(Rollout(0, groups, groups), ["accuracy", "helpful"]) if "rewards/" in name]
    assert names == ["rewards/accuracy/mean"]


def test_metrics_are_nan_if_nothing_was_graded() -> None:
    failed = Score(0.0, {}, None, "the sandbox failed", True)
    groups = [group(failed, failed)]
    values = metrics(Rollout(0, groups, groups), ["accuracy"])
    assert isnan(values["reward"]) and isnan(values["rewards/accuracy/mean"])


def test_completion_rows_pair_completions_with_their_advantages() -> None:
    right, wrong = Score(1.0, {"accuracy": 1.0}, "5"), Score(0.0, {"accuracy": 0.0}, None, "no answer found")
    rows = completion_rows(7, [group(right, wrong)], [[0.5, -0.5]])
    assert [(row["step"], row["sample"], row["advantage"], row["extracted"]) for row in rows] == [
        (7, 0, 0.5, "5"),
        (7, 1, -0.5, None),
    ]


floats = st.floats(allow_nan=False)
names = st.text(max_size=8)
problems = st.builds(
    Problem, names, names, names, extra=st.dictionaries(names, st.integers() | st.lists(st.integers()))
)
tokens = st.integers(0, 2**31 - 1)
completions = st.builds(
    Completion, names, st.integers(0, 9), st.tuples(tokens, tokens), st.tuples(floats, floats), names,
    st.sampled_from(["stop", "length"]), st.integers(0, 9),
)  # fmt: skip
scores = st.builds(Score, floats, st.dictionaries(names, floats), st.none() | names, names, st.booleans())
parts = st.tuples(problems, *(st.lists(each, min_size=2, max_size=2) for each in (completions, scores, floats)))


@given(drawn=st.lists(parts, min_size=1, max_size=4), dynamic_sampling=st.booleans())
@pytest.mark.slow
def test_unpack_restores_a_packed_rollout_exactly(
    tokenizer: PreTrainedTokenizerBase, drawn: list[tuple], dynamic_sampling: bool
) -> None:
    config = RL(**KEYS, rewards={"format": 1.0}, dynamic_sampling=dynamic_sampling)
    groups = [Group(make_prompt(problem, Prompting(template="none"), tokenizer), *rest) for problem, *rest in drawn]
    with TemporaryDirectory() as directory:
        write_progress({"step": 7, "rollout": pack(Rollout(7, groups))}, Path(directory))
        assert (Path(directory) / "progress.safetensors").is_file()
        restored = unpack(read_progress(Path(directory))["rollout"], config, tokenizer)
    assert restored.step == 7 and restored.sampled == groups and len(restored.selected) in (1, 2)
    varying = [each for each in groups if each.has_variance]
    if dynamic_sampling and varying:
        assert restored.selected[: len(varying)] == varying[:2], "the others only fill the update"
    else:
        assert restored.selected == groups[:2]
