"""Compare the decoder with transformers through checkpoints on disk, in both directions."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import normalizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from r1kit.data.tokenizer import train_tokenizer
from r1kit.errors import UserError
from r1kit.model.attention import PrefixAttention, RecordingAttention
from r1kit.model.decoder import Decoder
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.model.hf_config import config_from_hf, config_to_hf, read_config

SHAPE = dict(vocab_size=131, hidden_size=48, intermediate_size=89, num_hidden_layers=3, max_position_embeddings=64)
LLAMA3 = dict(
    rope_type="llama3", rope_theta=500_000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=16,
)  # fmt: skip
HEADS = dict(num_attention_heads=6, num_key_value_heads=2)
CASES: dict[str, PretrainedConfig] = {
    "qwen2": Qwen2Config(**SHAPE, **HEADS, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "qwen2-untied-mha": Qwen2Config(**SHAPE, num_attention_heads=4, num_key_value_heads=4, eos_token_id=[5, 7]),
    "qwen3-wide-heads": Qwen3Config(**SHAPE, **HEADS, head_dim=22, tie_word_embeddings=True, eos_token_id=3),
    "qwen3-untied": Qwen3Config(**SHAPE, num_attention_heads=5, num_key_value_heads=1, head_dim=6),
    "llama-mqa": LlamaConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=1, bos_token_id=0, pad_token_id=4),
    "llama3-tied": LlamaConfig(**SHAPE, **HEADS, tie_word_embeddings=True, rope_parameters=dict(LLAMA3)),
    "llama3": LlamaConfig(**SHAPE, num_attention_heads=3, num_key_value_heads=3, rope_parameters=dict(LLAMA3)),
}
TEXTS = ["It's 12 o'clock,\n\n  isn't it? Let 3 + 4 = 7.", "我们再检查一下 cafe\u0301, café\t(x1)  "] * 3
CHAT = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}{{ '> ' if add_generation_prompt }}"
MESSAGES = [{"role": "user", "content": "2+2?"}]


@torch.no_grad()
def _randomize(model: torch.nn.Module, seed: int) -> None:
    """Set random weights, biases and norm gains too, so that each one matters."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
        weight.copy_(noise * 0.15 + (weight.ndim == 1))


def _ours(config: PretrainedConfig, seed: int = 1) -> Decoder:
    model = Decoder(config_from_hf(config.to_dict()))
    model.init_weights(seed)
    _randomize(model, seed)
    return model


def _tokens(rows: int = 2, length: int = 60) -> torch.Tensor:
    return torch.randint(0, SHAPE["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def _assert_same_logits(ours: Decoder, peer: torch.nn.Module) -> None:
    tokens = _tokens()
    theirs = peer(tokens).logits
    assert theirs.std() > 0.3
    torch.testing.assert_close(ours.logits(ours(tokens)), theirs, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 280, chat_template=CHAT)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untied qwen2 checkpoint in a few shards. Tests copy it before they damage it."""
    directory = tmp_path_factory.mktemp("saved")
    save_model(_ours(CASES["qwen2-untied-mha"]), None, directory, max_shard_bytes=60_000)
    return directory


@pytest.mark.parametrize(("shards", "attention"), [("5GB", "sdpa"), ("20KB", "eager")])
@pytest.mark.parametrize("case", CASES)
def test_loads_checkpoints_saved_by_transformers(tmp_path: Path, case: str, shards: str, attention: str) -> None:
    peer = AutoModelForCausalLM.from_config(CASES[case], attn_implementation=attention).eval()
    _randomize(peer, seed=2)
    peer.save_pretrained(tmp_path, max_shard_size=shards)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 3) == (shards == "20KB")
    ours = load_model(tmp_path, torch.float32, "cpu")
    _assert_same_logits(ours, peer)
    assert ours.config.parameter_count() == sum(p.numel() for p in ours.parameters()) == peer.num_parameters()


@pytest.mark.parametrize("max_shard_bytes", [5 * 10**9, 20_000])
@pytest.mark.parametrize("case", CASES)
def test_transformers_loads_checkpoints_we_save(
    tmp_path: Path, case: str, max_shard_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    ours = _ours(CASES[case])
    save_model(ours, None, tmp_path, max_shard_bytes=max_shard_bytes)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 3) == (max_shard_bytes == 20_000)
    transformers.logging.enable_propagation()
    peer, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()) and not caplog.records
    _assert_same_logits(ours, peer.eval())
    again = load_model(tmp_path, torch.float32, "cpu")
    assert again.config == ours.config
    for (name, weight), (_, same) in zip(ours.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(weight, same), name


@pytest.mark.parametrize("case", CASES)
def test_config_round_trips_through_both_dialects(case: str) -> None:
    """Configs of transformers 5, ours (in transformers 4's keys), and 5's reading of ours are the same model."""
    config = config_from_hf(CASES[case].to_dict())
    legacy = config_to_hf(config)
    assert config_from_hf(json.loads(json.dumps(legacy))) == config
    read_by_peer = AutoConfig.for_model(**legacy)
    assert config_from_hf(read_by_peer.to_dict()) == config
    assert read_by_peer.to_dict().items() >= {k: v for k, v in legacy.items() if "rope" not in k}.items()
    if config.rope_scaling:
        older = {**legacy, "rope_scaling": {**legacy["rope_scaling"], "type": "llama3"}}
        del older["rope_scaling"]["rope_type"]
        assert config_from_hf(older) == config


def test_bfloat16_weights_round_trip(tmp_path: Path) -> None:
    ours = _ours(CASES["llama3"]).to(torch.bfloat16)
    save_model(ours, None, tmp_path)
    again = load_model(tmp_path, torch.bfloat16, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))
    assert AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto").dtype == torch.bfloat16
    exact = Decoder(ours.config).rotary.frequencies  # bfloat16 angles at position 10,000 would be wrong by radians
    for model in (ours, again, load_model(tmp_path, torch.float32, "cpu")):
        assert model.rotary.frequencies.dtype == torch.float32 and torch.equal(model.rotary.frequencies, exact)


OTHER_SPLIT = pytest.mark.xfail(strict=True, reason="AutoTokenizer splits qwen2 text by Qwen2's own rules")


@pytest.mark.parametrize("case", [pytest.param("qwen2", marks=OTHER_SPLIT), "qwen3-wide-heads", "llama3-tied"])
def test_tokenizer_and_chat_template_round_trip(tmp_path: Path, case: str, tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>"]})
    config = replace(config_from_hf(CASES[case].to_dict()), vocab_size=len(tokenizer))
    first, second = tmp_path / "first", tmp_path / "second"
    save_model(Decoder(config), tokenizer, first)
    save_model(Decoder(config), load_tokenizer(first), second)
    assert (first / "tokenizer_config.json").read_text() == (second / "tokenizer_config.json").read_text()
    for loaded in (load_tokenizer(second), AutoTokenizer.from_pretrained(second)):
        for text in [*TEXTS, "x <think> y"]:
            assert loaded.encode(text) == tokenizer.encode(text)
            assert loaded.decode(loaded.encode(text)) == tokenizer.decode(tokenizer.encode(text))
        assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
        rendered = loaded.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        assert rendered == "[user] 2+2?\n> "


def test_tokenizer_json_is_used_unchanged(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    """AutoTokenizer of transformers 5 rebuilds those of qwen2 and of LlamaTokenizerFast; R1's distills are both."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    for case, claimed in (("qwen2", "PreTrainedTokenizerFast"), ("llama-mqa", "LlamaTokenizerFast")):
        directory = tmp_path / case
        save_model(_ours(CASES[case]), tokenizer, directory)
        assert ("AutoTokenizer" in capsys.readouterr().err) == (case == "qwen2")
        for name, key, value in (
            ("tokenizer_config.json", "tokenizer_class", claimed),
            ("config.json", "vocab_size", len(tokenizer)),  # the tiny model's own vocabulary would be refused
        ):
            path = directory / name
            path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        assert AutoTokenizer.from_pretrained(directory).encode(TEXTS[0]) != tokenizer.encode(TEXTS[0])
        assert load_tokenizer(directory).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_missing_tokenizer_is_an_error(saved: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer: expected one of tokenizer\.json"):
        load_tokenizer(saved)


def test_eos_token_ids_of_both_config_files_are_read(saved: Path, tmp_path: Path) -> None:
    written = GenerationConfig.from_pretrained(saved)
    assert (written.eos_token_id, written.do_sample, written.temperature, written.top_p) == ([5, 7], True, 0.6, 0.95)
    shutil.copy(saved / "config.json", tmp_path)
    assert read_config(tmp_path).eos_token_ids == (5, 7)
    for theirs, expected in ((9, (5, 7, 9)), ([7, 9], (5, 7, 9)), (None, (5, 7))):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": theirs, "pad_token_id": 0}))
        assert read_config(tmp_path).eos_token_ids == expected
        assert read_config(tmp_path).pad_token_id == 0
    assert config_from_hf({**config_to_hf(read_config(saved)), "eos_token_id": 0}).eos_token_ids == (0,)


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("qwen2", {"model_type": "deepseek_v3"}, "'deepseek_v3': not one of .* qwen2, qwen3 or llama"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "use_sliding_window"),
        ("qwen3-untied", {"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_type 'yarn'"),
        ("llama3", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_type 'linear'"),
        ("llama3", {"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor, high_freq_factor"),
        ("qwen3-untied", {"rope_scaling": {"full_attention": {"rope_theta": 1e6}}}, "differ between layers"),
        ("qwen2", {"use_mrope": True}, "use_mrope"),
        ("llama3", {"attention_bias": True}, "attention_bias"),
        ("qwen3-untied", {"attention_bias": True}, "attention_bias"),
        ("llama3", {"mlp_bias": True}, "mlp_bias"),
        ("llama3", {"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ("llama3", {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ("qwen2", {"hidden_size": None, "vocab_size": None}, "lacks vocab_size, hidden_size"),
        ("qwen2", {"num_key_value_heads": 4}, "num_attention_heads = 6: must be a multiple of num_key_value_heads = 4"),
        ("qwen2", {"head_dim": 7}, "head_dim = 7: must be even"),
    ],
)
def test_configs_that_the_decoder_does_not_compute_are_named_by_key(case: str, change: dict, message: str) -> None:
    config = config_to_hf(config_from_hf(CASES[case].to_dict()))
    config_from_hf(config)
    with pytest.raises(UserError, match=message):
        config_from_hf({**config, **change})


@pytest.mark.parametrize(
    "change", [{"use_sliding_window": True, "sliding_window": 8}, {"rope_scaling": {"type": "default"}}]
)
def test_configs_with_unused_features_are_accepted(change: dict) -> None:
    """Released Qwen2 configs set a sliding window that starts behind the last layer."""
    config = config_from_hf(CASES["qwen2"].to_dict())
    assert config_from_hf({**config_to_hf(config), "max_window_layers": 3, **change}) == config


Q0, NORM, HEAD = "model.layers.0.self_attn.q_proj.weight", "model.norm.weight", "lm_head.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop(NORM), "missing: model.norm.weight"),
        (lambda w: w.update(surplus=torch.zeros(1)), "unexpected: surplus"),
        (lambda w: w.update({Q0: w[Q0][1:]}), r"q_proj.weight \(\[47, 48\], expected \[48, 48\]\)"),
        (lambda w: w.update({Q0: w[Q0].to(torch.int8)}), r"not floats of 16 to 64 bits: .*q_proj.weight \(I8\)"),
    ],
)
def test_mismatched_weights_are_named(saved: Path, tmp_path: Path, damage, message: str) -> None:
    weights = {name: t for shard in saved.glob("*.safetensors") for name, t in load_file(shard).items()}
    shutil.copy(saved / "config.json", tmp_path)
    old_llama = {**weights, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(6)}
    save_file(old_llama, tmp_path / "model.safetensors")
    load_model(tmp_path, torch.float32, "cpu")
    damage(weights)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=message):
        load_model(tmp_path, torch.float32, "cpu")


def test_missing_head_ties_the_embeddings(saved: Path, tmp_path: Path) -> None:
    weights = {name: t for shard in saved.glob("*.safetensors") for name, t in load_file(shard).items()}
    shutil.copy(saved / "config.json", tmp_path)
    head = weights.pop(HEAD)
    save_file(weights, tmp_path / "model.safetensors")
    model = load_model(tmp_path, torch.float32, "cpu")
    assert model.config.tie_word_embeddings and model.head_weight is model.embed.weight
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    save_file({**weights, HEAD: weights["model.embed_tokens.weight"].clone()}, tmp_path / "model.safetensors")
    load_model(tmp_path, torch.bfloat16, "cpu")
    save_file({**weights, HEAD: head}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"ties the embeddings but lm_head\.weight differs from"):
        load_model(tmp_path, torch.float32, "cpu")


def test_missing_or_unsafe_files_are_named(saved: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(saved, tmp_path / "broken"))
    index, first = broken / "model.safetensors.index.json", sorted(broken.glob("*.safetensors"))[0]

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            load_model(broken, torch.float32, "cpu")

    first.write_bytes(first.read_bytes()[:100])
    refused(f"{first.name}: not a readable safetensors file")
    first.unlink()
    refused(f"{first.name} missing, listed in model.safetensors.index.json")
    for name in ("../broken/" + first.name, "/etc/x.safetensors", "pytorch_model.bin"):
        index.write_text(json.dumps({"weight_map": {NORM: name}}))
        refused("must be the plain name of a .safetensors file")
    index.unlink()
    for shard in broken.glob("*.safetensors"):
        shard.unlink()
    refused("no weights: expected model.safetensors")
    (broken / "pytorch_model.bin").write_bytes(b"\x80")
    refused("pytorch_model.bin: not a readable file of weights, or it holds more than tensors")
    (broken / "config.json").unlink()
    refused("config.json: no such file")


def test_saving_deletes_older_weights(saved: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(saved, tmp_path / "again"))
    other = _ours(CASES["qwen2-untied-mha"], seed=8)
    save_model(other, None, directory)
    assert [p.name for p in directory.glob("model*")] == ["model.safetensors"]
    assert torch.equal(load_model(directory, torch.float32, "cpu").head.weight, other.head.weight)


@pytest.mark.parametrize("case", ["qwen2", "qwen3-wide-heads", "llama3"])
def test_prefix_attention_equals_causal_attention(case: str) -> None:
    """Hidden states and gradients of completions behind shared prompts equal those of full sequences."""
    model = _ours(CASES[case])
    lengths, group, length = (7, 3, 20), 2, 9
    tokens = _tokens(len(lengths) * group, length)
    prompts = _tokens(len(lengths), max(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    weight = torch.randn(SHAPE["vocab_size"], generator=torch.Generator().manual_seed(5))

    prefix = RecordingAttention()
    model(prompts, attend=prefix)
    keys, values = ([x.repeat_interleave(group, dim=0) for x in kv] for kv in (prefix.keys, prefix.values))
    positions = torch.tensor(lengths).repeat_interleave(group)[:, None] + torch.arange(length)
    shared = model(tokens, positions, PrefixAttention(keys, values, mask.repeat_interleave(group, dim=0), length))
    shared_grads = torch.autograd.grad((model.logits(shared) * weight).mean(), list(model.parameters()))

    rows = [torch.cat((prompts[i // group, : lengths[i // group]], row)) for i, row in enumerate(tokens)]
    plain = torch.stack([model(row[None])[0, -length:] for row in rows])
    plain_grads = torch.autograd.grad((model.logits(plain) * weight).mean(), list(model.parameters()))
    assert plain.std() > 0.3
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
    for (name, _), ours, theirs in zip(model.named_parameters(), shared_grads, plain_grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item(), msg=name)
