"""The preference stage, and its reward model as a reward of RL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from r1kit.config import Preference
from r1kit.data.store import DataError, write_jsonl
from r1kit.hashing import derive_seed
from r1kit.learn.preference_loss import label_margins, pair_margins, preference_loss
from r1kit.model.hf import save_model
from r1kit.stages import preference
from r1kit.stages.context import StageContext
from r1kit.stages.reward_model import NO_SUMMARY, Answer, RewardModelScorer

POLITE, RUDE = "please thanks kindly sorry".split(), "never idiot stupid nonsense".split()


def answer(seed: object, polite: bool, thinks_polite: bool) -> str:
    draw = derive_seed("answer", str(seed), polite)
    summary, thinking = ((POLITE if kind else RUDE)[draw % 4] for kind in (polite, thinks_polite))
    return f"<think>\n{thinking}\n</think>\n{summary} {draw % 97}"


def pairs(n: int) -> list[dict]:
    """Pairs in which the chosen summary is polite and the chosen thinking rude."""
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
    """Run a stage; return its summary and the rows of its metrics."""
    directory.mkdir(exist_ok=True)
    write_jsonl(directory / "records.jsonl", rows)
    keys = {"kind": "preference", "model": "base", "data": [str(directory / "records.jsonl")], "epochs": 2}
    keys |= {"context_length": 128, "sequences_per_step": 16, "learning_rate": 3e-3, "held_out": 40, "save_every": 4}
    context = StageContext("helpful", directory, 5, "float32", "cpu", 8, {"base": policy})
    summary = preference.run(Preference(**{**keys, **changes}), context)
    return summary, [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_pairwise_model_reads_the_summary(tmp_path: Path, policy: Path) -> None:
    summary, metrics = stage(tmp_path, policy, pairs(400))
    assert (summary["records"], summary["held_out"], summary["steps"]) == (360, 40, 45)
    assert metrics[0]["loss"] == pytest.approx(0.6931, abs=1e-4), "the initial score of every answer is 0"
    assert summary["eval/accuracy"] > 0.9 and summary["eval/accuracy_low"] > 0.8
    assert summary["eval/accuracy_low"] < summary["eval/accuracy"] <= summary["eval/accuracy_high"]
    scorer = RewardModelScorer(tmp_path / "model", "cpu", "float32")
    polite, rude = (answer("new", kind, not kind) for kind in (True, False))
    without_end = polite.replace("</think>", "")
    good, bad, unfinished = scorer([Answer("say 3", text) for text in (polite, rude, without_end)])
    assert good > 0 > bad and unfinished == NO_SUMMARY
    assert scorer([Answer("say 3", polite, truncated=True)]) == [NO_SUMMARY], "its summary may lack the weak end"


def test_pointwise_model_reads_the_complete_answer(tmp_path: Path, policy: Path) -> None:
    rows = [{"prompt": f"say {n}", "response": answer(n, True, n % 3 > 0), "safe": n % 3 > 0} for n in range(400)]
    summary, _ = stage(tmp_path, policy, rows, objective="pointwise", scores="whole")
    assert summary["eval/accuracy"] > 0.9
    scorer = RewardModelScorer(tmp_path / "model", "cpu", "float32")
    safe, unsafe = scorer([Answer("say 3", answer("new", True, kind)) for kind in (True, False)])
    assert 0 < unsafe < 0.3 < 0.7 < safe < 1
    assert scorer([Answer("say 3", answer("new", True, True), truncated=True)]) == [0.0]


def test_resumed_stage_gives_identical_weights(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pairs(100)
    stage(tmp_path / "complete", policy, rows, epochs=1)
    scores, calls = preference.document_scores, []

    def interrupted(*args: object) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return scores(*args)

    monkeypatch.setattr(preference, "document_scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "resumed", policy, rows, epochs=1)
    stage(tmp_path / "resumed", policy, rows, epochs=1)
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("complete", "resumed")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("objective", "row", "message"),
    [
        ("pairwise", {"prompt": "a", "chosen": "b"}, "row 1: rejected = None: must be text"),
        ("pairwise", {"prompt": "a", "chosen": "b", "rejected": "<think>c"}, "row 1: an answer has no summary"),
        ("pointwise", {"prompt": "a", "response": "b", "safe": 1}, "row 1: safe = 1: must be true or false"),
    ],
)
def test_unusable_records_are_refused(tmp_path: Path, policy: Path, objective: str, row: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        stage(tmp_path, policy, [row], objective=objective)


def test_losses_match_torch() -> None:
    scores_N = torch.tensor([1.5, -0.5, 0.0, 2.0])
    expected = -(torch.tensor(2.0).sigmoid().log() + torch.tensor(-2.0).sigmoid().log())
    assert preference_loss(pair_margins(scores_N)) == pytest.approx(float(expected))
    good_N = torch.tensor([True, False, True, False])
    theirs = F.binary_cross_entropy_with_logits(scores_N, good_N.float(), reduction="sum")
    assert preference_loss(label_margins(scores_N, good_N)) == pytest.approx(float(theirs))
