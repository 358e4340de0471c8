"""The shape of a decoder. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from r1kit.config import Architecture
from r1kit.model.families import FAMILIES, Family

# Recompute activations above this many bytes only: it saves memory for a third more arithmetic.
RECOMPUTE_ABOVE = 16 * 10**9
MIN_CONTEXT = 2048  # positions that a new model's config allows at least


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's scaling of rotary frequencies (rope_type "llama3" in a Hugging Face config)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and token ids of a decoder, under Hugging Face's names."""

    model_type: str  # a key of FAMILIES
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
    max_position_embeddings: int = 2048
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()  # generation stops at any of them
    pad_token_id: int | None = None

    @classmethod
    def from_architecture(cls, architecture: Architecture, vocab_size: int, context_length: int) -> ModelConfig:
        """Return the config of a new model with tied embeddings, as a recipe's `architecture` describes it."""
        return cls(
            model_type=architecture.model_type,
            vocab_size=vocab_size,
            hidden_size=architecture.hidden_size,
            intermediate_size=architecture.intermediate_size,
            num_hidden_layers=architecture.num_hidden_layers,
            num_attention_heads=architecture.num_attention_heads,
            num_key_value_heads=architecture.num_key_value_heads,
            head_dim=architecture.hidden_size // architecture.num_attention_heads,
            max_position_embeddings=max(MIN_CONTEXT, context_length),
        )

    @property
    def is_native(self) -> bool:
        """Whether `model.decoder` computes the model. If not, transformers does: see `model.generic`."""
        return True

    @property
    def mlp_width(self) -> int:
        """Units of a block's MLP that compute one token."""
        return self.intermediate_size

    @property
    def cache_width(self) -> int:
        """Numbers that the KV cache holds for every layer and token."""
        return 2 * self.num_key_value_heads * self.head_dim

    @property
    def served_cache_width(self) -> int:
        """The same where vLLM generates."""
        return self.cache_width

    @property
    def family(self) -> Family:
        """What `model_type` implies: biases, norms, names."""
        return FAMILIES[self.model_type]

    def parameter_count(self) -> int:
        """Return the number of weights, tied embeddings counted once."""
        d, heads, kv, head = self.hidden_size, self.num_attention_heads, self.num_key_value_heads, self.head_dim
        qkv_out = (heads + 2 * kv) * head
        attention = d * qkv_out + heads * head * d + self.family.qkv_bias * qkv_out + self.family.qk_norm * 2 * head
        layer = attention + 3 * d * self.intermediate_size + 2 * d
        embeddings = self.vocab_size * d * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * layer + embeddings + d

    def active_parameters(self) -> int:
        """Return the number of weights that compute one token."""
        return self.parameter_count()

    def with_context(self, tokens: int) -> ModelConfig:
        """Return the config for contexts of at least `tokens`. RoPE needs no new weights for longer contexts."""
        return replace(self, max_position_embeddings=max(self.max_position_embeddings, tokens))

    def stopping_at(self, *tokens: int | None) -> ModelConfig:
        """Return the config with these EOS tokens in front of its own."""
        ids = [*(token for token in tokens if token is not None), *self.eos_token_ids]
        return replace(self, eos_token_ids=tuple(dict.fromkeys(ids)))

    def activation_bytes(self, tokens: int, bytes_each: int) -> int:
        """Return how many bytes a forward pass over `tokens` keeps for its backward pass.

        Inputs and outputs of both norms; queries, keys and values before and after rotation, and what they mix; the
        MLP's three products.
        """
        attention = 3 * (self.num_attention_heads + self.num_key_value_heads) * self.head_dim
        per_layer = 4 * self.hidden_size + attention + 3 * self.mlp_width
        return tokens * self.num_hidden_layers * per_layer * bytes_each

    def should_recompute(self, tokens: int, bytes_each: int) -> bool:
        """Return whether supervised training recomputes activations: when they would outweigh the model."""
        return self.activation_bytes(tokens, bytes_each) > max(RECOMPUTE_ABOVE, 16 * self.parameter_count())
