"""The recipe zero-qwen-1.5b with a small random model and few steps, set by --set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM


@pytest.fixture(scope="module")
def gsm8k(data_dir: Path) -> Path:
    return data_dir / "gsm8k"


@pytest.fixture(scope="module")
def qwen2(gsm8k: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Qwen2 with a byte-level BPE trained on GSM8K, written by transformers."""
    directory = tmp_path_factory.mktemp("qwen2")
    texts = [json.loads(line)["question"] for line in (gsm8k / "train.jsonl").read_text().splitlines()[:1500]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_end|>"]
    options = {"special_tokens": special, "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1200, **options))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    ).save_pretrained(directory)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=1200, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.mark.long
def test_recipe_for_qwen_trains_on_gsm8k(gsm8k: Path, qwen2: Path, tmp_path: Path) -> None:
    benchmark = {"source": str(gsm8k / "test.jsonl"), "limit": 4}
    overrides = {
        "dtype": "float32",  # in bfloat16, engine and learner differ more than the bound below
        "stage.before.model": str(qwen2),
        "stage.zero.model": str(qwen2),
        "stage.zero.prompts": [str(gsm8k / "train.jsonl")],
        "stage.zero.steps": 4,
        "stage.zero.prompts_per_step": 2,
        "stage.zero.num_generations": 4,
        "stage.zero.steps_per_rollout": 2,
        "stage.zero.max_completion_length": 24,
        "stage.zero.eval_every": 2,
        "stage.zero.benchmarks": {"gsm8k": [benchmark]},
        "stage.zero.learning_rate": 1e-3,
        # A reward that a random model can earn, so that advantages are not zero.
        "stage.zero.rewards": {f"{__name__.rpartition('.')[2]}:shortness": 1.0, "accuracy": 1.0, "format": 1.0},
    }
    for stage in ("before", "after"):
        overrides |= {f"stage.{stage}.benchmarks": {"gsm8k": [benchmark]}, f"stage.{stage}.max_completion_length": 24}
    command = [sys.executable, "-m", "r1kit", "run", "zero-qwen-1.5b", "--run-dir", str(tmp_path / "run"), "--json"]
    for key, value in overrides.items():
        command += ["--set", f"{key}={_toml(value)}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["evals"]["after"]["benchmarks"]["gsm8k"]["problems"] == 4
    rows = [json.loads(line) for line in (tmp_path / "run/stages/zero/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert max(row["grad_norm"] for row in rows) > 0
    assert all(row["sampling/logp_difference_max"] < 1e-3 for row in rows if "sampling/logp_difference_max" in row)
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "run/stages/zero/model")
    start = AutoModelForCausalLM.from_pretrained(qwen2)
    changes = [(a - b).abs().max() for a, b in zip(trained.parameters(), start.parameters(), strict=True)]
    assert max(changes) > 1e-4


def shortness(problem: object, text: str) -> float:
    """Reward fewer characters, as a custom reward function."""
    return -len(text) / 100


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
