"""The shape of a decoder: what Qwen2, Qwen3 and Llama checkpoints differ in, and nothing else. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

RECOMPUTE_ABOVE = 16 * 10**9  # bytes of activations; a third more arithmetic is a high price for less


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's stretched rotary frequencies ("llama3" in a Hugging Face config)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Field names are Hugging Face's; `qkv_bias` and `qk_norm` are what `model_type` implies."""

    model_type: str  # "qwen2", "qwen3" or "llama"
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    max_position_embeddings: int = 2048
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()  # generation stops at any of them
    pad_token_id: int | None = None

    def parameter_count(self) -> int:
        """Number of weights, shared ones counted once."""
        d, heads, kv, head = self.hidden_size, self.num_attention_heads, self.num_key_value_heads, self.head_dim
        qkv_out = (heads + 2 * kv) * head
        attention = d * qkv_out + heads * head * d + self.qkv_bias * qkv_out + self.qk_norm * 2 * head
        layer = attention + 3 * d * self.intermediate_size + 2 * d
        embeddings = self.vocab_size * d * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * layer + embeddings + d

    def reaching(self, tokens: int) -> ModelConfig:
        """The same for texts of so many tokens: rotary positions know no end, trained on longer texts they serve."""
        return replace(self, max_position_embeddings=max(self.max_position_embeddings, tokens))

    def activation_bytes(self, tokens: int, bytes_each: int) -> int:
        """What a backward pass needs to keep of so many tokens."""
        attention = 2 * (self.num_attention_heads + self.num_key_value_heads) * self.head_dim
        per_layer = 6 * self.hidden_size + attention + 4 * self.intermediate_size
        return tokens * self.num_hidden_layers * per_layer * bytes_each

    def recomputes(self, tokens: int, bytes_each: int) -> bool:
        """Whether supervised training keeps the inputs of blocks only: when all it could keep outweighs the model."""
        return self.activation_bytes(tokens, bytes_each) > max(RECOMPUTE_ABOVE, 16 * self.parameter_count())
