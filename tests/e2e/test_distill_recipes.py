"""The distillation recipes with small random models and few records, set by --set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

RECIPES = ("distill-qwen-1.5b", "distill-llama-8b")
SHAPE = {"vocab_size": 700, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "eos_token_id": 0, "max_position_embeddings": 64}
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def problems(data_dir: Path) -> list[dict]:
    lines = (data_dir / "gsm8k" / "train.jsonl").read_text().splitlines()[:120]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def records(problems: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GSM8K's solutions as a teacher's responses, in the format of the recipes' data set."""
    path = tmp_path_factory.mktemp("teacher") / "records.jsonl"
    with path.open("w") as file:
        for row in problems:
            steps, _, result = row["answer"].partition("####")
            answer = f"<think>\n{steps.strip()}\n</think>\n\\boxed{{{result.strip()}}}"
            turns = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": turns, "num_tokens": 1}) + "\n")
    return path


def student(family: str, problems: list[dict], directory: Path) -> Path:
    """Write a random base model with transformers. Qwen's tokenizer has a chat template, Llama's has none."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    options = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet(), "show_progress": False}
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, **options)
    tokenizer.train_from_iterator([row["question"] for row in problems], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[0], pad_token=special[0])
    fast.chat_template = CHATML if family == "qwen" else None
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    if family == "qwen":
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False))
    model.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_has_the_papers_values_and_is_checked_without_torch(recipe: str) -> None:
    code = (
        "import json, sys\nfrom r1kit import plan, recipe\n"
        f"loaded = recipe.load_recipe({recipe!r}, ['device=cuda'])\nplanned = plan.make_plan(loaded)\n"
        "assert not planned.warnings, planned.warnings\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "print(loaded.stage['distill'].model_dump_json())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert config["learning_rate"] == {"distill-qwen-1.5b": 1e-4, "distill-llama-8b": 5e-5}[recipe]  # Table 6
    expected = {"epochs": 2, "context_length": 32_768, "sequences_per_step": 64}
    expected |= {"lr_scheduler_type": "cosine", "min_lr_ratio": 0.1}
    assert config == {**config, **expected}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_distils(recipe: str, problems: list[dict], records: Path, data_dir: Path, tmp_path: Path) -> None:
    base = student(recipe.split("-")[1], problems, tmp_path / "base")
    benchmarks = f'{{gsm8k = [{{source = "{data_dir}/gsm8k/test.jsonl", limit = 2}}]}}'
    overrides = {
        "stage.distill.model": json.dumps(str(base)),
        "stage.distill.data": json.dumps([str(records)]),
        "stage.distill.context_length": 1024,
        "stage.distill.sequences_per_step": 10,
        "stage.distill.learning_rate": 1e-2,
        "stage.distill.warmup_steps": 2,
        "stage.distill.held_out": 8,
        "stage.before.model": json.dumps(str(base)),
        **{f"stage.{name}.benchmarks": benchmarks for name in ("before", "after")},
        **{f"stage.{name}.max_completion_length": 16 for name in ("before", "after")},
    }
    command = [sys.executable, "-m", "r1kit", "run", recipe, "--run-dir", str(tmp_path / "run"), "--json"]
    for key, value in overrides.items():
        command += ["--set", f"{key}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])["evals"]) == {"before", "after"}
    stage = tmp_path / "run/stages/distill"
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((stage / "artifact.json").read_text())["summary"]
    assert len(rows) == summary["steps"] == 23 and (summary["records"], summary["held_out"]) == (112, 8)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"] and summary["eval/loss"] == rows[-1]["eval/loss"] < rows[0]["loss"]
    model = AutoModelForCausalLM.from_pretrained(stage / "model")
    assert model.config.max_position_embeddings == 1024, "the training context length is published"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(stage / "model")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "2?"}], tokenize=False, add_generation_prompt=True
    )
    expected = (
        "<|im_start|>user\n2?<|im_end|>\n<|im_start|>assistant\n" if "qwen" in recipe else "User: 2?\n\nAssistant:\n"
    )
    assert prompt == expected
