"""Models that transformers computes: packing, generation, learning and saving agree with transformers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from learner_batches import config
from tiny_families import FAMILIES, SCALED, write_family
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma2Config,
    GPT2Config,
    Lfm2Config,
    MambaConfig,
)

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import make_engine
from r1kit.errors import UserError
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.learn.lora import add_adapters, merge_adapters, trained_weights
from r1kit.learn.step.critic import load_critic
from r1kit.model.generic.decoder import GenericDecoder
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.model.hf_config import read_config
from r1kit.model.reference import checkpoint_problem
from r1kit.model.reward_model import load_reward_model, reward_model_from
from r1kit.types import Completion

LENGTHS = (20, 33, 7, 22)
PARAMS = SamplingParams(seed=3, max_tokens=12)
REQUESTS = [Request(str(i), tuple(range(5 + i, 5 + i + n)), 3) for i, n in enumerate((5, 30, 12))]


@pytest.fixture(scope="module")
def made(tokenizer, tmp_path_factory) -> Callable[[str], tuple[GenericDecoder, torch.nn.Module, Path]]:
    """Return a copy of a family's model, the model in transformers, and its directory."""
    written: dict[str, tuple[GenericDecoder, torch.nn.Module, Path]] = {}

    def make(family: str) -> tuple[GenericDecoder, torch.nn.Module, Path]:
        if family not in written:
            directory = tmp_path_factory.mktemp(family)
            theirs = write_family(family, tokenizer, directory)
            written[family] = load_model(directory, torch.float32, "cpu"), theirs, directory
        ours, theirs, directory = written[family]
        return copy.deepcopy(ours), theirs, directory

    return make


def documents() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 200, (n,), generator=generator) for n in LENGTHS]


def logits(model: GenericDecoder, tokens_T: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(tokens_T[None]))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_and_logits_are_those_of_transformers(family: str, made) -> None:
    """Also where the documents are longer than a sliding window."""
    ours, theirs, _ = made(family)
    assert isinstance(ours, GenericDecoder)
    texts, places = documents(), torch.cat([torch.arange(n) for n in LENGTHS])
    with torch.no_grad():
        hidden = ours.packed(torch.cat(texts), places, LENGTHS)
        alone = [theirs(text[None]).logits[0] for text in texts]
    torch.testing.assert_close(ours.logits(hidden), torch.cat(alone), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, *SCALED])
def test_generated_tokens_are_those_of_complete_forward_passes(family: str, made, tokenizer) -> None:
    ours, _, _ = made(family)
    engine = make_engine(ours, tokenizer, 5)  # more than one wave
    completions = engine.generate(REQUESTS, PARAMS)
    assert len(completions) == 9
    for completion in completions:
        prompt = REQUESTS[int(completion.prompt_id)].token_ids
        scores = logits(ours, torch.tensor([*prompt, *completion.token_ids])).log_softmax(-1)[len(prompt) - 1 : -1]
        expected = scores.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=1e-4)
    alone = make_engine(ours, tokenizer, 100).generate([REQUESTS[2]], PARAMS)
    assert [c.token_ids for c in alone] == [c.token_ids for c in completions[6:]]
    greedy = engine.generate(REQUESTS[:1], replace(PARAMS, temperature=0.0))[0]
    last = logits(ours, torch.tensor([*REQUESTS[0].token_ids, *greedy.token_ids]))[4:-1].argmax(-1)
    assert last.tolist() == list(greedy.token_ids)


def learned(model: GenericDecoder, tokenizer, steps: int = 2, **changes: object) -> list[dict[str, float]]:
    """Sample groups and update on them."""
    learner = Learner(model, config(learning_rate=1e-3, max_completion_length=12, **changes))
    engine = make_engine(learner.model, tokenizer, 100)
    rows = []
    for step in range(steps):
        completions = engine.generate(REQUESTS, replace(PARAMS, seed=step))
        groups = [completions[i : i + 3] for i in (0, 3, 6)]
        prompts = [request.token_ids for request in REQUESTS]
        advantages = torch.tensor([[1.0, -0.5, -0.5]] * 3)
        batch = make_batch(prompts, groups, advantages, temperature=1.0, mask_truncated=False)
        rows.append(learner.step(batch, step))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_learner_agrees_with_engine_and_saved_model_with_transformers(
    family: str, made, tokenizer, tmp_path: Path
) -> None:
    ours, theirs, _ = made(family)
    before = {name: x.clone() for name, x in ours.state_dict().items()}
    rows = learned(ours, tokenizer, micro_batch_tokens=100, recompute="on")
    assert all(row["sampling/logp_difference_max"] < 1e-4 and row["grad_norm"] > 0 for row in rows)
    changed = {name for name, x in ours.state_dict().items() if not torch.equal(x, before[name])}
    buffers = {name for name, _ in ours.named_buffers()}
    assert changed == before.keys() - buffers, "buffers, such as the routing bias, stay"
    ours.config = ours.config.with_context(1024).stopping_at(7)
    save_model(ours, tokenizer, tmp_path)
    back = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    text = documents()[1]
    with torch.no_grad():
        torch.testing.assert_close(back(text[None]).logits[0], logits(ours, text), atol=2e-4, rtol=0)
        assert not torch.allclose(back(text[None]).logits, theirs(text[None]).logits, atol=2e-4)
    assert back.config.max_position_embeddings == 1024
    assert back.config.eos_token_id == [7, tokenizer.eos_token_id]
    again = read_config(tmp_path)
    assert again.eos_token_ids == (7, tokenizer.eos_token_id) and again.max_position_embeddings == 1024


def test_gradient_is_that_of_the_objective(made) -> None:
    """The policy gradient of log-probabilities, from rows of prompt and completion, with and without recomputation."""
    ours, theirs, _ = made("deepseek_v3")
    prompts, mask = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]]), torch.tensor([[True] * 4, [True, True, False, False]])
    tokens, kept = torch.tensor([[9, 10, 11], [12, 13, 0], [14, 0, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    gradients = []
    for recompute in (False, True):
        ours.recompute = recompute
        states = ours.prompts(prompts, mask).completion_states(ours, torch.tensor([0, 1, 0]), tokens, kept.bool())
        scores = ours.logits(states).log_softmax(-1).gather(1, tokens[kept.bool()][:, None])
        ours.zero_grad()
        scores.sum().backward()
        gradients.append([weight.grad.clone() for weight in ours.parameters()])
    theirs.zero_grad()
    for row in ([3, 4, 5, 6, 9, 10, 11], [7, 8, 12, 13], [3, 4, 5, 6, 14]):
        answers = {7: 3, 4: 2, 5: 1}[len(row)]
        scores = theirs(torch.tensor([row])).logits[0].log_softmax(-1)[-answers - 1 : -1]
        scores.gather(1, torch.tensor(row[-answers:])[:, None]).sum().backward()
    for plain, again, weight in zip(*gradients, theirs.parameters(), strict=True):
        assert torch.equal(plain, again)
        torch.testing.assert_close(plain, weight.grad, atol=1e-4, rtol=1e-3)


def test_bfloat16_keeps_fp32_master_weights_and_buffers(made, tokenizer) -> None:
    model = made("deepseek_v3")[0].to(torch.bfloat16)
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}, "frequencies and the routing bias"
    learner = Learner(model, config(learning_rate=1e-3))
    assert {x.dtype for x in learner.master.parameters()} == {torch.float32}
    assert {x.dtype for x in learner.model.parameters()} == {torch.bfloat16}
    assert learned(model, tokenizer, 1)[0]["sampling/logp_difference_mean"] < 0.1


def test_adapters_are_trained_and_merged(made, tokenizer) -> None:
    pytest.importorskip("peft")
    ours, _, _ = made("mistral")
    text, base = documents()[0], copy.deepcopy(ours)
    add_adapters(ours, rank=2, alpha=4.0, seed=1)
    assert torch.equal(logits(ours, text), logits(base, text))
    assert len(trained_weights(ours)) == 2 * 7 * 2
    learned(ours, tokenizer)
    adapted = logits(ours, text)
    assert not torch.allclose(adapted, logits(base, text), atol=1e-3)
    merged = merge_adapters(ours)
    torch.testing.assert_close(logits(merged, text), adapted, atol=1e-4, rtol=1e-4)
    assert merged.state_dict().keys() == base.state_dict().keys()


@pytest.mark.parametrize("family", ["gemma3", "deepseek_v3"])
def test_reward_model_is_a_sequence_classifier_of_transformers(family: str, made, tmp_path: Path) -> None:
    policy, _, _ = made(family)
    model = reward_model_from(policy, {"objective": "pairwise"})
    texts, places = documents(), torch.cat([torch.arange(n) for n in LENGTHS])
    last = torch.tensor(LENGTHS).cumsum(0) - 1
    assert not model.scores(model.packed(torch.cat(texts), places, LENGTHS), last).any(), "every initial score is 0"
    torch.nn.init.normal_(model.score.weight)
    scores = model.scores(model.packed(torch.cat(texts), places, LENGTHS), last)
    save_model(model, None, tmp_path)
    again = load_reward_model(tmp_path, torch.float32, "cpu")
    assert again.settings == {"objective": "pairwise"}
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    for text, score in zip(texts, scores, strict=True):
        torch.testing.assert_close(theirs(text[None]).logits[0, 0], score, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("family", "keys"), [("deepseek_v3", {}), ("mistral", {"lora_rank": 2})])
def test_a_critic_of_ppo_is_trained(family: str, keys: dict[str, int], made) -> None:
    ours, _, path = made(family)
    if keys:
        pytest.importorskip("peft")
        add_adapters(ours, rank=2, alpha=4.0, seed=1)
    settings = config(objective="ppo", critic={"learning_rate": 3e-3}, epsilon=10.0, beta=0.0, **keys)
    critic = load_critic(settings, path, None, torch.float32, "cpu", 5)
    assert (len(trained_weights(critic)) == 2 * 7 * 2 + 1) if keys else "lm_head" not in str([*trained_weights(critic)])
    learner = Learner(ours, settings, critic=critic)
    prompts, tokens = [[3, 4, 5, 6], [7, 8]], (9, 10, 11, 12, 13)
    groups = [[Completion("p", i, tokens[: 3 + i], (-5.0,) * (3 + i), "", "stop") for i in range(2)]] * 2
    rewards = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    make = partial(make_batch, prompts, groups, rewards, temperature=1.0, mask_truncated=False, rewards_PG=rewards)
    rows = []
    for step in range(8):
        values = [row_T[: 3 + i % 2] for i, row_T in enumerate(learner.critic.values(make()))]
        rows.append(learner.step(make(values=values), step))
    # Half remains: completions with equal first tokens have different rewards.
    assert rows[-1]["critic/loss"] < 0.6 * rows[0]["critic/loss"] and rows[0]["grad_norm"] > 0
    with torch.no_grad():
        plain = critic.values(critic(torch.tensor([[7, 8, *tokens[:3]]]))[0])[1:-1]
    torch.testing.assert_close(learner.critic.values(make())[2, :3], plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_the_model(family: str, made) -> None:
    ours, theirs, _ = made(family)
    assert ours.config.parameter_count() == pytest.approx(sum(p.numel() for p in theirs.parameters()), rel=0.02)
    assert not ours.config.is_native


def test_unsupported_models_are_refused_with_what_is_missing(tokenizer, tmp_path: Path) -> None:
    def refusal(kind: type | None, **keys: object) -> str:
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        if kind is None:
            directory.mkdir()
            (directory / "config.json").write_text(json.dumps(keys))
        else:
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(kind(vocab_size=320, **keys)).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        if problem := checkpoint_problem(directory):
            return problem
        with pytest.raises(UserError) as error:
            load_model(directory, torch.float32, "cpu").check_length(65)
        return str(error.value)

    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, head_dim=16)
    mixed = dict(num_key_value_heads=1, layer_types=["full_attention", "conv"], block_multiple_of=8)
    assert "keeps a state besides keys and values" in refusal(Lfm2Config, **{**sizes, **mixed, "num_hidden_layers": 2})
    assert "config.json lacks num_attention_heads" in refusal(MambaConfig, hidden_size=32, num_hidden_layers=1)
    assert "parts for images or sound" in refusal(None, model_type="gemma3", text_config={}, vision_config={})
    capped = refusal(Gemma2Config, **sizes, num_key_value_heads=1, final_logit_softcapping=0.1)
    assert "changes its logits after the output matrix (a cap" in capped
    assert "65 tokens, but the model has learned positions for 64" in refusal(
        GPT2Config, n_embd=32, n_layer=1, n_head=2, n_positions=64
    )
    assert "model_type = 'unheard_of': must be a causal language model that transf" in refusal(
        None, model_type="unheard_of"
    )
    assert "code of its own, which r1kit never runs" in refusal(None, model_type="unheard_of", auto_map={"a": "b"})
    assert "quantization_config" in refusal(None, model_type="deepseek_v3", quantization_config={"quant_method": "fp8"})


def test_tokenizer_and_chat_template_are_kept(made, tokenizer, tmp_path: Path) -> None:
    ours, _, directory = made("olmo2")
    save_model(ours, load_tokenizer(directory), tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.encode("1 + 2 = 3") == tokenizer.encode("1 + 2 = 3") and again.eos_token_id == tokenizer.eos_token_id
