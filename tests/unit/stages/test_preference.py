"""The preference stage learns which answer is better, says how sure that is, and RL can ask what it learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from r1kit.config import Preference
from r1kit.data.pairs import Pair, ask_judge, clear_pair, match_lengths
from r1kit.data.store import DataError, write_jsonl
from r1kit.hashing import derive_seed
from r1kit.learn.preference_loss import label_margins, pair_margins, preference_loss
from r1kit.model.hf import save_model
from r1kit.stages import preference
from r1kit.stages.context import StageContext
from r1kit.stages.reward_model import NO_SUMMARY, RewardScorer

WORDS = "please thanks kindly sorry".split(), "never idiot stupid nonsense".split()  # polite and rude


def answer(seed: object, polite: bool, thinks_polite: bool) -> str:
    draw = derive_seed("answer", str(seed), polite)
    said, thought = (WORDS[not kind][draw % 4] for kind in (polite, thinks_polite))
    return f"<think>\n{thought}\n</think>\n{said} {draw % 97}"


def pairs(n: int) -> list[dict]:
    """Only summaries tell which answer is better; who reads the thoughts is misled."""
    return [
        {"prompt": f"say {i}", "chosen": answer(i, True, False), "rejected": answer(i, False, True)} for i in range(n)
    ]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory, make_decoder, tokenizer) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    model = make_decoder(num_hidden_layers=1)
    save_model(model, tokenizer, directory)
    return directory


def stage(directory: Path, policy: Path, rows: list[dict], **changes: object) -> tuple[dict, list[dict]]:
    """(summary, metrics) of a finished stage."""
    directory.mkdir(exist_ok=True)
    write_jsonl(directory / "records.jsonl", rows)
    given = {"kind": "preference", "model": "base", "data": [str(directory / "records.jsonl")], "epochs": 2}
    given |= {"context_length": 128, "sequences_per_step": 16, "learning_rate": 3e-3, "held_out": 40, "save_every": 4}
    context = StageContext("helpful", directory, 5, "float32", "cpu", 8, {"base": policy})
    summary = preference.run(Preference(**{**given, **changes}), context)
    return summary, [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_pairs_teach_the_summary(tmp_path: Path, policy: Path) -> None:
    summary, metrics = stage(tmp_path, policy, pairs(400))
    assert (summary["records"], summary["held_out"], summary["steps"]) == (360, 40, 45)
    assert metrics[0]["loss"] == pytest.approx(0.6931, abs=1e-4), "all answers start equal"
    assert summary["eval/accuracy"] > 0.9 and summary["eval/accuracy_low"] > 0.8
    assert summary["eval/accuracy_low"] < summary["eval/accuracy"] <= summary["eval/accuracy_high"]
    scorer = RewardScorer(tmp_path / "model", "cpu", "float32")
    polite, rude = (answer("new", kind, not kind) for kind in (True, False))
    endless = polite.replace("</think>", "")
    good, bad, unfinished = scorer([("say 3", polite), ("say 3", rude), ("say 3", endless)])
    assert good > 0 > bad and unfinished == NO_SUMMARY


def test_labels_teach_the_whole_answer(tmp_path: Path, policy: Path) -> None:
    rows = [{"prompt": f"say {n}", "response": answer(n, True, n % 3 > 0), "safe": n % 3 > 0} for n in range(400)]
    summary, _ = stage(tmp_path, policy, rows, objective="pointwise", scores="whole")
    assert summary["eval/accuracy"] > 0.9
    scorer = RewardScorer(tmp_path / "model", "cpu", "float32")
    safe, unsafe = scorer([("say 3", answer("new", True, kind)) for kind in (True, False)])
    assert 0 < unsafe < 0.3 < 0.7 < safe < 1


def test_stopped_and_run_again_it_ends_in_the_same_weights(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pairs(100)
    stage(tmp_path / "whole", policy, rows, epochs=1)
    scores, calls = preference.document_scores, []

    def stopping(*args: object) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return scores(*args)

    monkeypatch.setattr(preference, "document_scores", stopping)
    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "stopped", policy, rows, epochs=1)
    stage(tmp_path / "stopped", policy, rows, epochs=1)
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("objective", "row", "message"),
    [
        ("pairwise", {"prompt": "a", "chosen": "b"}, "row 1: rejected = None: must be text"),
        ("pairwise", {"prompt": "a", "chosen": "b", "rejected": "<think>c"}, "row 1: an answer has no summary"),
        ("pointwise", {"prompt": "a", "response": "b", "safe": 1}, "wanted true or false in safe; found 1"),
    ],
)
def test_records_that_cannot_be_used_are_told(
    tmp_path: Path, policy: Path, objective: str, row: dict, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        stage(tmp_path, policy, [row], objective=objective)


def test_losses_are_torchs() -> None:
    scores_N = torch.tensor([1.5, -0.5, 0.0, 2.0])
    expected = -(torch.tensor(2.0).sigmoid().log() + torch.tensor(-2.0).sigmoid().log())
    assert preference_loss(pair_margins(scores_N)) == pytest.approx(float(expected))
    good_N = torch.tensor([True, False, True, False])
    theirs = F.binary_cross_entropy_with_logits(scores_N, good_N.float(), reduction="sum")
    assert preference_loss(label_margins(scores_N, good_N)) == pytest.approx(float(theirs))


def test_places_cancel_and_only_clear_preferences_stay() -> None:
    asked = []

    def loves_the_first(prompt: str, first: str, second: str, query: int) -> float:
        asked.append((first, query))
        return 2.0 if first == "good" else 1.0  # whatever stands first is better, and good even more

    difference = ask_judge("q", "good", "bad", loves_the_first)
    assert asked == [("good", 0), ("good", 2), ("bad", 1), ("bad", 3)] and difference == 0.5
    assert clear_pair("q", "good", "bad", difference) is None and clear_pair("q", "good", "bad", 1.0) is None
    assert clear_pair("q", "good", "bad", 1.25) == Pair("q", "good", "bad")
    assert clear_pair("q", "good", "bad", -1.5) == Pair("q", "bad", "good")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=60), st.integers(0, 3))
def test_length_tells_nothing_in_what_is_kept(lengths: list, seed: int) -> None:
    pairs = [Pair(f"{i}", "<think>?</think>" + "c" * c, "r" * r) for i, (c, r) in enumerate(lengths)]
    kept = match_lengths(pairs, seed)
    sizes = [(pair.chosen.count("c"), pair.rejected.count("r")) for pair in kept]
    assert sum(c > r for c, r in sizes) == sum(c < r for c, r in sizes)
    assert [int(pair.prompt) for pair in kept] == sorted({int(pair.prompt) for pair in kept})
    assert sum(c == r for c, r in sizes) == sum(c == r for c, r in lengths)
