"""Records of episodes: their environments write the same, and nothing that those write is trained on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from r1kit.data.examples import Row, encode, episode_of
from r1kit.data.pack import Document, pack
from r1kit.data.store import DataError
from r1kit.data.template import set_template
from r1kit.data.token_cache import TokenizedRecords, load_tokens, save_tokens
from r1kit.data.worlds import EPISODES, world_problems, world_records
from r1kit.environments.base import Message
from r1kit.environments.calculator import Calculator
from r1kit.environments.guess import Guess
from r1kit.types import ASSISTANT, Problem


@pytest.fixture
def chat(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    set_template(tokenizer, "chat")
    return tokenizer


def document(name: str, tokenizer: PreTrainedTokenizerBase, number: int = 0) -> tuple[list[dict], Document]:
    record = [*world_records(name)][number]
    (made,) = encode([(record["prompt"], record["episode"])], tokenizer, close=True)
    return record["episode"], made


@pytest.mark.parametrize(("name", "environment"), [("bignum", Calculator()), ("guess", Guess())])
def test_environments_write_what_records_show(name: str, environment: Calculator | Guess) -> None:
    for record in islice(world_records(name), 60):
        episode = record["episode"]
        hidden = episode[-1]["content"].split("{")[-1].split("}")[0] if name == "guess" else ""
        running = environment.start(Problem("p", record["prompt"], hidden), 0)
        for turn, message in zip(episode[::2], episode[1::2], strict=False):
            assert running.step(turn["content"]) == Message(message["content"], message["role"])
        assert running.step(episode[-1]["content"]) is None


@pytest.mark.parametrize("name", EPISODES)
def test_records_answer_training_problems(name: str) -> None:
    held_out = {problem.question for problem in world_problems(name.removesuffix("-by-hand"), "held_out", limit=500)}
    for record in world_records(name):
        assert record["prompt"] not in held_out
        if name != "guess":
            text = record["episode"][-1]["content"]
            answer = text.rpartition("<answer>")[2].partition("</answer>")[0]
            task = record["prompt"].strip("?.").split()[-1]
            assert str(eval(task)) == answer


def test_messages_of_the_environment_have_no_loss(chat: PreTrainedTokenizerBase) -> None:
    episode, made = document("bignum", chat)
    assert made.read is not None
    assert chat.decode(made.tokens[made.read]) == episode[1]["content"]
    targets = pack([made]).targets.tolist()
    own = [token for m in episode if m["role"] == ASSISTANT for token in chat.encode(m["content"])]
    assert targets == [*own, chat.eos_token_id]


def test_turns_before_a_user_end_with_eos(chat: PreTrainedTokenizerBase) -> None:
    episode, made = next(pair for pair in (document("guess", chat, i) for i in range(9)) if len(pair[0]) > 3)
    eos, turns = chat.eos_token_id, len(episode) // 2 + 1
    targets = pack([made]).targets.tolist()
    assert targets.count(eos) == turns == made.tokens.tolist().count(eos)
    own = "".join(m["content"] + chat.eos_token for m in episode if m["role"] == ASSISTANT)
    assert chat.decode(targets) == own


def test_saved_tokens_keep_the_authors(chat: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    documents = [document("bignum", chat)[1], *encode([("a", "b")], chat, close=True)]
    save_tokens(tmp_path / "tokens.npz", "f", TokenizedRecords(documents, ["a", "b"], [True, True]))
    loaded = load_tokens(tmp_path / "tokens.npz", "f")
    assert loaded is not None
    first, second = loaded.documents
    assert first.read is not None and documents[0].read is not None and (first.read == documents[0].read).all()
    assert second.read is None


def test_an_episode_begins_and_ends_with_the_assistant() -> None:
    assert episode_of({"prompt": "p", "response": "r"}, "row 1") is None
    with pytest.raises(DataError, match="row 1: episode has the roles user: must begin and end with assistant"):
        episode_of({"episode": [{"role": "user", "content": "x"}]}, "row 1")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"episode": "abc"}, "episode = 'abc': must be a list of objects with role and content"),
        ({"episode": [{"role": "assistant"}]}, "message 1 of episode: content = None: must be text"),
        ({"episode": [{"role": "Assistant", "content": "x"}]}, "role = 'Assistant': must be one of assistant, env"),
        ({"episode": [], "response": "r"}, "has both response and episode: remove one of them"),
    ],
)
def test_a_record_with_a_broken_episode_is_named(row: Row, message: str) -> None:
    with pytest.raises(DataError, match=f"row 7: .*{message}"):
        episode_of(row, "row 7")
