"""What a stage publishes prompts and stops in transformers as it was trained: template, BOS, EOS, generation config."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers_of_families import FAMILIES, tokenizer_of
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from r1kit.config import RL, SFT, Prompting
from r1kit.data.prompt import make_prompt
from r1kit.data.store import write_jsonl
from r1kit.model.hf import load_tokenizer, save_model
from r1kit.stages import rl, sft
from r1kit.stages.context import StageContext
from r1kit.types import Problem

QUESTION, ANSWER = "1+1?", "It is 2."
WATCHDOGS = dict.fromkeys("constant_reward never_ends always_cut_off cut_off no_variance".split(), "off")

pytestmark = pytest.mark.slow


@pytest.fixture(params=["qwen2.5-base", "llama3", "llama3-base", "mistral-without-bos"])
def base(request: pytest.FixtureRequest, tmp_path: Path, make_decoder) -> Path:
    """A base model whose config lists the tokenizer's own EOS only."""
    tokenizer = tokenizer_of(request.param)
    eos = tokenizer.eos_token_id
    model = make_decoder(0, vocab_size=len(tokenizer), eos_token_ids=(eos,), bos_token_id=tokenizer.bos_token_id)
    save_model(model, tokenizer, tmp_path / request.param)
    return tmp_path / request.param


def context(directory: Path, model: Path) -> StageContext:
    return StageContext("s", directory, 5, "float32", "cpu", 8, {"m": model})


def train_sft(base: Path, directory: Path, **changes: object) -> Path:
    write_jsonl(directory / "records.jsonl", [{"prompt": QUESTION, "response": ANSWER}] * 8)
    keys = dict(kind="sft", model="m", data=[str(directory / "records.jsonl")], context_length=900, held_out=0)
    keys |= dict(sequences_per_step=4, epochs=30, learning_rate=5e-3, lr_scheduler_type="constant")
    sft.run(SFT(**keys | changes), context(directory, base))
    return directory / "model"


def train_rl(base: Path, directory: Path, **changes: object) -> Path:
    write_jsonl(directory / "problems.jsonl", [{"question": QUESTION, "answer": "2"}])
    keys = dict(kind="rl", model="m", prompts=[str(directory / "problems.jsonl")], steps=1, prompts_per_step=1)
    keys |= dict(num_generations=2, steps_per_rollout=1, max_completion_length=4, watchdogs=WATCHDOGS)
    rl.run(RL(**keys | changes), context(directory, base))
    return directory / "model"


def assert_saved_as_trained(model: Path, base: Path, style: Prompting) -> None:
    """Assert that transformers reads the prompt, BOS and EOS that r1kit trains with."""
    end = FAMILIES[base.name][-1]
    tokenizer = AutoTokenizer.from_pretrained(model)
    end_id, base_eos = tokenizer.convert_tokens_to_ids(end), tokenizer_of(base.name).eos_token_id
    messages = [{"role": "user", "content": QUESTION}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    trained = make_prompt(Problem("p", QUESTION, ""), style, load_tokenizer(model))
    assert tuple(ids) == trained.token_ids
    assert ids.count(tokenizer.bos_token_id) == int(FAMILIES[base.name][2])
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == (end, end_id)
    expected = end_id if end_id == base_eos else [end_id, base_eos]
    assert GenerationConfig.from_pretrained(model).eos_token_id == expected
    assert AutoConfig.from_pretrained(model).eos_token_id == expected


def test_sft_in_the_chat_template_ends_turns_with_its_token(base: Path, tmp_path: Path) -> None:
    model = train_sft(base, tmp_path / "sft")
    assert_saved_as_trained(model, base, Prompting(template="chat"))
    tokenizer, trained = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    messages = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_tensors="pt", return_dict=True
    )
    written = trained.generate(**prompt, do_sample=False, max_new_tokens=40)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(written) == ANSWER + FAMILIES[base.name][-1], "learned, and generation stopped there"


def test_rl_on_the_r1_zero_prompt_of_a_model_trained_in_the_chat_template(base: Path, tmp_path: Path) -> None:
    chat = train_sft(base, tmp_path / "sft", epochs=1)
    model = train_rl(chat, tmp_path / "rl")
    assert_saved_as_trained(model, base, Prompting(template="r1-zero"))
    again = train_sft(model, tmp_path / "again", epochs=1, template="r1-zero")
    assert_saved_as_trained(again, base, Prompting(template="r1-zero"))


def test_rl_with_a_system_prompt_in_the_chat_template(tmp_path: Path, make_decoder) -> None:
    tokenizer = tokenizer_of("qwen2.5-base")
    model = make_decoder(0, vocab_size=len(tokenizer), eos_token_ids=(tokenizer.eos_token_id,))
    save_model(model, tokenizer, tmp_path / "qwen2.5-base")
    trained = train_rl(
        tmp_path / "qwen2.5-base", tmp_path / "rl", template="chat", system_prompt="Be brief.", stop=["e"]
    )
    assert_saved_as_trained(trained, tmp_path / "qwen2.5-base", Prompting(template="chat"))
