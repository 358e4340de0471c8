"""Environments of the package verifiers, unchanged: rollouts, rewards, failures, training and evaluation.

Run by `make test-verifiers`, in an environment with the package.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("verifiers")

from datasets.utils import are_progress_bars_disabled
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.config import RL, PromptSource
from r1kit.data.problems import load_problems
from r1kit.data.store import DataError
from r1kit.data.verifiers import load_environment
from r1kit.environments import verifiers
from r1kit.environments.base import Message
from r1kit.environments.calls import Calls
from r1kit.environments.named import environment_named
from r1kit.errors import UserError
from r1kit.metrics.log import read_metrics
from r1kit.model.hf import load_tokenizer, publish_model
from r1kit.rewards.score import grade
from r1kit.rewards.services import Settings
from r1kit.stages import rl
from r1kit.stages.context import StageContext

# Each file is an environment as the package's users write it. None of them knows r1kit.
HEAD = """
import asyncio, time
import verifiers as vf
from datasets import Dataset

def rows(count):
    each = [{"question": f"What is {i} times 12?", "answer": str(12 * i)} for i in range(count)]
    return Dataset.from_list(each)
"""
ENVIRONMENTS = {
    "vf_tools": """
def multiply(a: int, b: int) -> int:
    "Multiply two numbers."
    return a * b

async def right(completion, answer, **kwargs) -> float:
    return float(answer in completion[-1]["content"])

def load_environment():
    rubric = vf.Rubric(funcs=[right, lambda completion, **_: 0.5], weights=[1.0, 0.5])
    data = dict(dataset=rows(4), eval_dataset=rows(2), system_prompt="Use tools.")
    return vf.ToolEnv(**data, tools=[multiply], rubric=rubric)
""",
    "vf_single": """
def letters(completion, **kwargs) -> float:
    return len(set(completion[-1]["content"])) / 10

def load_environment():
    return vf.SingleTurnEnv(dataset=rows(8), rubric=vf.Rubric(funcs=[letters]))
""",
    "vf_turns": """
class Echo(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
        await asyncio.sleep(hash(messages[-1]["content"]) % 7 / 1000)  # differs from process to process
        return [{"role": "user", "content": str(len(messages[-1]["content"]))}]

def letters(completion, state, **kwargs) -> float:
    return len(state["trajectory"]) + len(completion[0]["content"]) % 5

def load_environment():
    return Echo(dataset=rows(8), rubric=vf.Rubric(funcs=[letters]), max_turns=3)
""",
    "vf_bad": """
class Bad(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
        match state["answer"]:
            case "0":
                raise vf.ToolError("the tool is gone")
            case "12":
                raise KeyError("a bug")
            case "24":
                await asyncio.sleep(1000)
            case "36":
                time.sleep(30)
            case "48":
                return [{"role": "system", "content": "a new rule"}]
            case "60":
                raise SystemExit("away with the trainer")
        return [{"role": "user", "content": "fine"}]

    async def get_prompt_messages(self, state):
        messages = await super().get_prompt_messages(state)
        return messages[-1:] if state["answer"] == "72" and state["trajectory"] else messages

    async def setup_state(self, state):
        if state["answer"] == "84":
            state["prompt"] = [vf.UserMessage(content="another prompt")]

def load_environment():
    return Bad(dataset=rows(9), rubric=vf.Rubric(funcs=[lambda completion, **_: 1.0]), max_turns=2)
""",
    "vf_group": """
def best(completions, **kwargs) -> list[float]:
    return [0.0 for _ in completions]

def load_environment():
    return vf.SingleTurnEnv(dataset=rows(2), rubric=vf.Rubric(funcs=[best]))
""",
    "vf_image": """
def load_environment():
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": [{"type": "image_url"}]}], "answer": "1"}])
    return vf.SingleTurnEnv(dataset=data, rubric=vf.Rubric(funcs=[lambda completion, **_: 1.0]))
""",
}
CALL = (
    '<think>Well.</think>Let me see.\n<tool_call>\n{"name": "multiply", "arguments": {"a": 1, "b": 12}}\n</tool_call>'
)
BAD = '<tool_call>{"name": "multiply", "arguments": {"a": 1}}</tool_call>'


@pytest.fixture(autouse=True)
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.getbasetemp() / "verifiers_environments"
    path.mkdir(exist_ok=True)
    for name, text in ENVIRONMENTS.items():
        (path / f"{name}.py").write_text(HEAD + text)
    return path


def of(folder: Path, name: str, number: int = 1):
    """An environment, and one of its problems."""
    environment = environment_named(f"verifiers:{name}", folder)
    environment.style = "hermes"
    return environment, load_problems([PromptSource(source=f"verifiers:{name}")])[number]


def test_problems_are_the_rows_of_the_dataset(folder: Path) -> None:
    _, problem = of(folder, "vf_tools")
    assert [m["content"] for m in problem.messages] == ["Use tools.", "What is 1 times 12?"]
    assert problem.question == "What is 1 times 12?" and problem.answer == "12"
    (tool,) = problem.tools
    assert tool["function"]["name"] == "multiply" and tool["function"]["parameters"]["required"] == ["a", "b"]
    held_out = load_problems([PromptSource(source="verifiers:vf_tools", split="held_out")])
    assert len(held_out) == 2 and held_out[1] == problem
    assert len(load_problems([PromptSource(source="verifiers:vf_tools", limit=3)])) == 3


def test_calls_reach_the_tools_and_their_results_the_policy(folder: Path) -> None:
    environment, problem = of(folder, "vf_tools")
    episode = environment.start(problem, 0)
    first, second = episode.step(CALL + BAD) or ()
    assert first == Message("12", "tool")
    assert second.role == "tool" and "missing 1 required positional argument" in second.content
    assert episode.step("It is 12.") is None and episode.score() == 1.25
    episode.close()
    wrong = environment.start(problem, 0)
    assert wrong.step("It is 13.") is None and wrong.score() == 0.25
    assert grade(problem, "", truncated=True).status == "wrong"


def test_what_is_no_call_stays_text(folder: Path) -> None:
    response = verifiers._response("a <tool_call>nonsense</tool_call>", 0, "hermes")
    assert response.message.content == "a <tool_call>nonsense</tool_call>" and not response.message.tool_calls
    message = verifiers._response(CALL + " <tool_call>nonsense</tool_call>", 2, "hermes").message
    assert message.content == "<think>Well.</think>Let me see.\n <tool_call>nonsense</tool_call>"
    assert [call.id for call in message.tool_calls] == ["call_2_0"] and message.finish_reason == "tool_calls"


def test_an_episode_that_is_cut_off_is_scored_without_its_last_turn(folder: Path) -> None:
    environment, problem = of(folder, "vf_turns")
    first = environment.start(problem, 0)
    assert first.score() == 0  # in its first turn
    later = environment.start(problem, 0)
    assert later.step("abc") == [Message("3", "user")] and later.score() == 1 + 3


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (0, "the tool is gone"),
        (1, "KeyError: 'a bug'"),
        (2, "took longer than 2 seconds"),
        (4, "a message with the role 'system'"),
        (5, "SystemExit: away with the trainer"),
        (6, "rewrites its history"),
        (7, "changes the prompt"),
        (8, ""),
    ],
)
def test_a_failure_loses_only_its_own_episode(folder: Path, number: int, reason: str) -> None:
    environment, problem = of(folder, "vf_bad", number)
    calls: Calls[str] = Calls(2.0)
    episode, good = environment.start(problem, 0), environment.start(of(folder, "vf_bad", 8)[1], 0)
    calls.submit("bad", lambda: episode.step("turn"))
    calls.submit("good", lambda: good.step("turn"))
    outcomes = {}
    while calls.is_busy:
        outcomes |= {outcome.key: outcome for outcome in calls.collect(wait=True)}
    assert reason in outcomes["bad"].failure and bool(outcomes["bad"].failure) == bool(reason)
    assert outcomes["good"].value == [Message("fine", "user")]
    assert good.step("turn") is None and good.score() == 1
    episode.close()
    good.close()


def test_a_loop_that_is_stuck_is_left_behind(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(verifiers, "STUCK", 1.0)
    environment, problem = of(folder, "vf_bad", 3)
    calls: Calls[int] = Calls(3.0)
    stuck = environment.start(problem, 0)
    calls.submit(0, lambda: stuck.step("turn"))
    assert "took longer than 3 seconds" in calls.collect(wait=True)[0].failure
    stuck.close()
    good = environment.start(of(folder, "vf_bad", 8)[1], 0)
    calls.submit(1, lambda: good.step("turn"))
    assert calls.collect(wait=True)[0].value == [Message("fine", "user")]


def test_what_cannot_be_trained_on_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="vf_group: its rubric has rewards that compare the rollouts of a group"):
        environment_named("verifiers:vf_group", folder)
    with pytest.raises(UserError, match="verifiers:nowhere cannot be loaded: Could not import 'nowhere'"):
        environment_named("verifiers:nowhere", folder)
    environment_named("verifiers:vf_image", folder)
    with pytest.raises(DataError, match="only text can be trained on"):
        load_problems([PromptSource(source="verifiers:vf_image")])
    environment_named("verifiers:vf_single", folder)
    with pytest.raises(DataError, match="no problems for split = 'held_out'"):
        load_problems([PromptSource(source="verifiers:vf_single", split="held_out")])
    environment, _ = of(folder, "vf_turns")
    with pytest.raises(UserError, match="a problem of another source"):
        environment.start(load_problems([PromptSource(source="world:arithmetic", limit=1)])[0], 0)


def test_loading_keeps_the_handlers_of_signals(folder: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    environment_named("verifiers:vf_single", folder)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_datasets_are_made_without_progress_bars(folder: Path, capfd) -> None:
    load_environment.cache_clear()
    of(folder, "vf_tools")
    assert "%|" not in capfd.readouterr().err
    assert not are_progress_bars_disabled()


HERMES = Path(rl.__file__).parents[1] / "data" / "chat_templates" / "hermes.jinja"

# -- training ---------------------------------------------------------------------------------------------------------

KEYS = dict(kind="rl", prompts_per_step=2, num_generations=4, steps_per_rollout=2, max_completion_length=40)
KEYS |= dict(save_every=1, rewards={"environment": 1.0}, template="chat", steps=4, learning_rate=1e-3)
KEYS |= dict(watchdogs=dict.fromkeys(("constant_reward", "never_ends", "always_cut_off"), "off"), log_rollouts_every=1)


@pytest.fixture
def base(make_decoder, chat_tokenizer, tmp_path: Path) -> Path:
    publish_model(make_decoder(0), chat_tokenizer, tmp_path / "base")
    return tmp_path / "base"


def train(base: Path, folder: Path, name: str, environment: str, steps: int) -> Path:
    """Train up to a step, from the last checkpoint if there is one."""
    source = f"verifiers:{environment}"
    stop = [" "] if environment == "vf_turns" else []  # an untrained model hardly writes EOS
    config = RL(model=str(base), environment=source, prompts=[source], stop=stop, **KEYS)
    grading = asdict(Settings(folder=str(folder), timeout=20.0))
    directory = base.parent / name
    context = StageContext("zero", directory, 7, "float32", "cpu", 64, {str(base): base}, grading=grading)
    trainer = rl.Trainer(config, context)
    with trainer.checkpoints, trainer.ahead, trainer.rewards:
        trainer.restore()
        while trainer.step < steps:
            trainer.advance()
            trainer.save(stopping=False)
    return directory


@pytest.mark.slow
def test_an_interrupted_stage_continues_with_the_same_bits(base: Path, folder: Path) -> None:
    straight = train(base, folder, "straight", "vf_turns", 4)
    for steps in (1, 2, 4):
        resumed = train(base, folder, "resumed", "vf_turns", steps)
    assert [
        (resumed / "metrics.jsonl").read_bytes(),
        *(p.read_bytes() for p in sorted(resumed.glob("rollouts/*"))),
    ] == [
        (straight / "metrics.jsonl").read_bytes(),
        *(p.read_bytes() for p in sorted(straight.glob("rollouts/*"))),
    ]
    row = read_metrics(straight / "metrics.jsonl")[0]
    assert row["episodes/turns"] > 1 and row["rewards/environment/mean"] > 1
    assert row["sampling/logp_difference_max"] < 1e-3  # the tokens that are trained on were sampled


@pytest.mark.slow
def test_a_model_is_evaluated_in_the_environment(base: Path, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = HERMES.read_text()
    tokenizer.save_pretrained(base)
    given = ["--prompts", "verifiers:vf_tools", "--environment", "verifiers:vf_tools", "--template", "chat"]
    given += ["--reward", "environment", "--samples", "4", "--max-completion-length", "200", "--json"]
    done = CliRunner().invoke(app, ["eval", str(base), *given, "--stop", " ", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.exception
    rows = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    complete = [row for row in rows if not row["truncated"]]
    assert len(rows) == 8 and {row["rewards"]["environment"] for row in complete} <= {0.25, 1.25}
    assert complete and all(row["correct"] == (row["rewards"]["environment"] >= 0.5) for row in complete)


@pytest.mark.slow
def test_a_single_turn_trains(base: Path, folder: Path) -> None:
    row = read_metrics(train(base, folder, "single", "vf_single", 2) / "metrics.jsonl")[-1]
    assert "completions/ungraded" not in row and row["reward"] >= 0


@pytest.mark.slow
def test_tools_need_a_chat_template_that_shows_them(base: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="shows no tools"):
        train(base, folder, "tools", "vf_tools", 1)
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = HERMES.read_text()
    tokenizer.save_pretrained(base)
    row = read_metrics(train(base, folder, "tools", "vf_tools", 1) / "metrics.jsonl")[-1]
    assert "completions/ungraded" not in row
