"""The distillation recipes with small random models and few records, set by --set."""

from __future__ import annotations

import json
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
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.recipe import load_recipe

RATES = {  # paper: Table 6
    "distill-qwen-1.5b": 1e-4,
    "distill-qwen-7b": 8e-5,
    "distill-qwen-14b": 7e-5,
    "distill-qwen-32b": 6e-5,
    "distill-llama-8b": 5e-5,
    "distill-llama-70b": 2e-5,
}
BASES = ("Qwen2.5-Math-1.5B", "Qwen2.5-Math-7B", "Qwen2.5-14B", "Qwen2.5-32B", "Llama-3.1-8B", "Llama-3.3-70B-Instruct")
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


def student(family: str, problems: list[dict], directory: Path, chat_template: bool | None = None) -> Path:
    """Write a random base model with transformers. By default only Qwen's tokenizer has a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    options = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet(), "show_progress": False}
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, **options)
    tokenizer.train_from_iterator([row["question"] for row in problems], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[0], pad_token=special[0])
    fast.chat_template = CHATML if chat_template or (chat_template is None and family == "qwen") else None
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    if family == "qwen":
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False))
    model.save_pretrained(directory)
    return directory


def test_recipes_are_checked_without_torch() -> None:
    code = (
        "import json, sys\nfrom r1kit import plan, recipe\n"
        f"planned = [plan.make_plan(recipe.load_recipe(name)) for name in {list(RATES)}]\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "assert all(stage.parameters for each in planned for stage in each.stages)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("recipe", "base"), [*zip(RATES, BASES, strict=True)])
def test_recipe_has_the_papers_values(recipe: str, base: str) -> None:
    stage = load_recipe(recipe).stage
    assert stage["before"].model == stage["distill"].model and stage["distill"].model.split("/")[1] == base
    config = stage["distill"].model_dump()
    expected = {"learning_rate": RATES[recipe], "epochs": 2, "context_length": 32_768, "sequences_per_step": 64}
    expected |= {"lr_scheduler_type": "cosine", "min_lr_ratio": 0.1}
    assert config == {**config, **expected}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RATES)
def test_recipe_distils(recipe: str, problems: list[dict], records: Path, data_dir: Path, tmp_path: Path) -> None:
    base = student(recipe.split("-")[1], problems, tmp_path / "base", chat_template=recipe != "distill-llama-8b")
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
    command = ["run", recipe, "--run-dir", str(tmp_path / "run"), "--json"]
    for key, value in overrides.items():
        command += ["--set", f"{key}={value}"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
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
    chatml = "<|im_start|>user\n2?<|im_end|>\n<|im_start|>assistant\n"
    assert prompt == ("User: 2?\n\nAssistant:\n" if recipe == "distill-llama-8b" else chatml)
