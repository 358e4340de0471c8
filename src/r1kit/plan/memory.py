"""The memory of a stage, part by part, from what its code allocates.

With N parameters of which T are trained (all, or the adapters), b bytes per number of the run's dtype (2 or 4), width
D, MLP width I, H query and K key-value heads of width E, V tokens in the vocabulary (of a model with experts, I is the
width of those that compute a token):

    base          Python and libraries
    weights       N b
    master        4 T for the fp32 copy that the optimizer updates, if b is 2 or adapters are trained
    optimizer     8 T for AdamW's two moments in fp32, 2 T in 8 bits
    reference     N b with a KL penalty; 4 T with adapters
    reward models N b each
    critic        C b for the C parameters of PPO's critic, which has no output matrix, unless its master weights
                  compute. It is taken to have the policy's shape
    critic state  its master weights (4 bytes each) and optimizer. Its gradients come when the policy's are gone
    sampling      the weights of a rollout that is sampled ahead: N b, 4 T with adapters
    completions   (700 + 68 cap) each: token ids, log-probabilities, text and score as Python objects

    gradients     4 T
    activations   b layers (4 D + 3 (H + K) E + 3 I) a token; recomputed, they are D a layer, and one complete layer.
                  Once, 2 D + 4 I for the gradients inside a block
    attention     keys and values of prompts, copied for every completion; in bfloat16 on a CPU also 2 H a token and key
    logits        three chunks in fp32; 8 V D for the gradient of the head, summed over chunks, and 4 V D for that of
                  the embedding; 4 V D for the head in fp32 if b is 2

    allocator     on a CPU, a quarter of these four: glibc adds some bytes to aligned requests, so a freed block does
                  not serve the next request of its size (measured in six stages: 11 to 73 %; the same stage differs
                  by up to 400 MB of 2 GB from run to run)

    checkpoint    4 T + optimizer + reference + critic state + sampling: the copy that is written while the stage goes
                  on, in RL with a rollout
    packed        copies of all matrices for generation on a CPU: two in fp32, one in bfloat16
    kv cache      2 layers K E b for every prompt and sampled token, and once more for the layer that is growing. On a
                  CPU half as much again: what a layer frees when it grows is too small for the next (measured: 45 %).
                  At most `kv_cache_tokens`, by default what fits beside the rest
    sampling      3 V fp32 numbers a row, 10 if top-p or top-k sorts them
    vllm          N b, and on a GPU 2 GiB for its activations and CUDA graphs, where it generates in the same process

Of P processes that train all weights together, each holds 4 T / P of master weights in any dtype, optimizer / P,
4 T / P for the sum of gradients, and completions / P in the KV cache. With `shard_weights` it holds reference / P and
gradients / P. Instead of the weights it holds two blocks and what is outside blocks (`gathered_bytes`), and all N b
while it generates ("gathered").

Training and generation alternate, except with `rollouts_ahead`; the passes of a step always do. The cache of vLLM stays
while the stage trains. Offloaded models are on
the device while nothing else is computed. Lengths are the largest that the recipe allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from r1kit import machine
from r1kit.config import RL, Adapters, MemoryUse, StageConfig, Training
from r1kit.config.stage import PROMPT_TOKENS
from r1kit.model.config import ModelConfig

BASE_BYTES: Mapping[machine.Device, int] = {"cpu": 390_000_000, "cuda": 800_000_000}  # torch and transformers; CUDA
COMPLETION_BYTES, COMPLETION_TOKEN_BYTES = 700, 68
LOGIT_CHUNK: Mapping[machine.Device, int] = {"cpu": 2**24, "cuda": 2**27}  # numbers, as in learn/logprobs.py
PACKED_SHARE = 0.2  # of the machine's memory: larger models are not packed (engine/prepacked.py)
QUERY_BLOCK = 128  # as in model/attention.py
MEMORY_SHARE = 0.9  # of the device's memory that the KV cache may fill, together with the rest
VLLM_RESERVE: Mapping[machine.Device, int] = {"cpu": 0, "cuda": 2 << 30}  # as in engine/vllm/local.py
KEPT = (
    "base",
    "weights",
    "master",
    "optimizer",
    "reference",
    "reward_models",
    "critic",
    "critic_state",
    "sampling_weights",
    "completions",
    "vllm",
)
TRAINING = ("gradients", "activations", "attention", "logits", "allocator")
GENERATION = ("packed", "kv_cache", "sampling", "gathered")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a stage runs."""

    device: machine.Device
    dtype: machine.Dtype
    max_concurrent: int
    reward_parameters: int = 0
    """Of all its reward models."""
    kv_cache_tokens: int | None = None
    """Tokens in the KV cache at the same time; None for all that completions may have."""
    processes: int = 1
    """That train together (learn/sharded.py)."""
    vllm: bool = False
    """Whether vLLM generates in the process that trains."""

    @property
    def bytes_each(self) -> int:
        """Bytes of one number of the run's dtype."""
        return 4 if self.dtype == "float32" else 2


def memory(stage: StageConfig, shape: ModelConfig, setting: Setting) -> dict[str, int]:
    """Return the bytes by part of a stage, then "peak" on the device. For a GPU, "main_memory" has its machine's."""
    use, b, n = stage.memory_use(), setting.bytes_each, shape.parameter_count()
    parts = {"base": BASE_BYTES[setting.device], "weights": n * b, "reward_models": setting.reward_parameters * b}
    if isinstance(stage, Training):
        parts |= _training(stage, use, shape, setting)
    if use.completions != 0:
        parts |= _generation(use, shape, setting)
        if setting.vllm:
            parts |= {"packed": 0, "vllm": n * b + VLLM_RESERVE[setting.device]}
    elsewhere = _main_memory_parts(stage, setting)
    here = {name: size for name, size in parts.items() if name not in elsewhere}
    meanwhile, saving = GENERATION if use.completions else TRAINING, ("checkpoint",) if use.saves else ()
    phases: list[tuple[str, ...]] = [TRAINING, GENERATION, (*saving, *meanwhile) if saving else ()]
    if use.samples_ahead or setting.vllm:
        phases = [(*TRAINING, *GENERATION, *saving)]
    sizes = [sum(here.get(name, 0) for name in names) for names in phases]
    sizes += [parts.get(name, 0) for name in ("reference", "reward_models") if name in elsewhere]
    fixed = sum(here.get(name, 0) for name in KEPT)
    if setting.device == "cuda":
        parts["main_memory"] = BASE_BYTES["cpu"] + sum(parts.get(name, 0) for name in elsewhere)
    return {**parts, "peak": fixed + max(sizes)}


def certain(stage: StageConfig, shape: ModelConfig, setting: Setting) -> int:
    """Return the bytes that a stage needs on its device even if it samples short completions, one at a time."""
    if isinstance(stage, RL):
        cap = min(stage.longest_completion, stage.micro_batch_tokens)
        stage = stage.model_copy(update={"max_completion_length": {0: cap}})
    parts = memory(stage, shape, setting)
    uncertain = ("completions", *_main_memory_parts(stage, setting))
    return sum(parts.get(name, 0) for name in (*KEPT, *TRAINING) if name not in uncertain)


def fitting_tokens(stage: StageConfig, shape: ModelConfig, setting: Setting, limit: int) -> int:
    """Return how many tokens in the KV cache fit into `limit` bytes beside the rest of a stage.

    At least one completion of full length: what is known to be too large is refused elsewhere, and where memory runs
    out the engine lowers the number of completions.
    """
    use, parts = stage.memory_use(), memory(stage, shape, replace(setting, kv_cache_tokens=0))
    names = {
        *KEPT,
        *GENERATION,
        *(("checkpoint",) if use.saves else ()),
        *(TRAINING if use.samples_ahead or setting.vllm else ()),
    }
    names -= {*_main_memory_parts(stage, setting)}
    free = int(MEMORY_SHARE * limit) - sum(parts.get(name, 0) for name in names)
    return max(use.completion_tokens + PROMPT_TOKENS, free * 1000 // _cache_bytes(1000, shape, setting))


def checkpoint_bytes(stage: StageConfig, shape: ModelConfig, setting: Setting) -> int:
    """Return the size of a checkpoint; 0 for a stage that does not train."""
    setting = replace(setting, processes=1)  # all write their shares
    return _training(stage, stage.memory_use(), shape, setting)["checkpoint"] if isinstance(stage, Training) else 0


def completion_bytes(tokens: int) -> int:
    """Return the bytes of the Python objects of a completion."""
    return COMPLETION_BYTES + COMPLETION_TOKEN_BYTES * tokens


def token_cache_bytes(shape: ModelConfig, bytes_each: int) -> int:
    """Return the bytes of a token in the KV cache: a key and a value for every layer and key-value head."""
    return shape.num_hidden_layers * shape.cache_width * bytes_each


def _cache_bytes(tokens: int, shape: ModelConfig, setting: Setting) -> int:
    cache = tokens * token_cache_bytes(shape, setting.bytes_each)
    return cache + cache // (2 * shape.num_hidden_layers) + (cache // 2 if setting.device == "cpu" else 0)


def _main_memory_parts(stage: StageConfig, setting: Setting) -> tuple[str, ...]:
    """Return the parts that are in main memory where the device is a GPU."""
    if setting.device == "cpu":
        return ()
    offloaded = isinstance(stage, Training) and stage.offload
    held = ("master", "gradients", "optimizer", "reference", "reward_models", "critic_state") if offloaded else ()
    return ("completions", "checkpoint", *held)


def _adapter_parameters(shape: ModelConfig, rank: int) -> int:
    """Return the weights of LoRA on the four linear layers of every block: inputs plus outputs, times the rank."""
    d, i = shape.hidden_size, shape.mlp_width
    queries, qkv = shape.num_attention_heads * shape.head_dim, _qkv(shape)
    return shape.num_hidden_layers * rank * ((d + qkv) + (queries + d) + (d + 2 * i) + (i + d))


def _qkv(shape: ModelConfig) -> int:
    return (shape.num_attention_heads + 2 * shape.num_key_value_heads) * shape.head_dim


def _training(stage: Training, use: MemoryUse, shape: ModelConfig, setting: Setting) -> dict[str, int]:
    b, n = setting.bytes_each, shape.parameter_count()
    rank = stage.lora_rank if isinstance(stage, Adapters) else 0
    trained = _adapter_parameters(shape, rank) if rank else n
    count = 1 if rank else setting.processes  # every process updates all adapters
    shares = count if stage.shard_weights else 1
    copied = 4 * trained // count if rank or b == 2 or count > 1 else 0
    gradients = 4 * trained // shares + (4 * trained // count if shares < count else 0)
    optimizer = trained * (2 if stage.adam_8bit else 8) // count
    copied_weights = 4 * trained if rank else n * b // shares
    reference, ahead = (copied_weights if has else 0 for has in (use.has_reference, use.samples_ahead))
    critic = critic_bytes(stage, shape, setting)
    passes = _passes(stage, use, shape, setting)
    if use.step_tokens <= use.trained_tokens:  # a single pass: gradients arrive while activations go
        passes["gradients"] = max(0, gradients - sum(passes.values()))
    else:
        passes["gradients"] = gradients
    if setting.device == "cpu":
        passes["allocator"] = sum(passes.values()) // 4
    return {
        "master": copied,
        "optimizer": optimizer,
        "reference": reference,
        **critic,
        **({"sampling_weights": ahead} if ahead else {}),
        "checkpoint": 4 * trained // count + optimizer + reference + ahead + critic.get("critic_state", 0),
        **passes,
        **({"weights": gathered_bytes(shape, b)} if shares > 1 else {}),
        **({"gathered": n * b} if shares > 1 and use.completions else {}),
    }


def critic_bytes(stage: Training, shape: ModelConfig, setting: Setting) -> dict[str, int]:
    """Return the bytes of the compute weights of PPO's critic, and of its training state; {} without one."""
    if not isinstance(stage, RL) or stage.critic is None:
        return {}
    parameters, rank = critic_parameters(shape), stage.lora_rank
    trained = _adapter_parameters(shape, rank) + shape.hidden_size if rank else parameters
    count = 1 if rank else setting.processes
    is_master = not rank and (stage.shard_weights if count > 1 else setting.bytes_each == 4)
    weights = 0 if is_master else setting.bytes_each * parameters
    return {"critic": weights, "critic_state": (4 + (2 if stage.critic.adam_8bit else 8)) * trained // count}


def critic_parameters(shape: ModelConfig) -> int:
    """Return the parameters of a critic: those of the policy with one row instead of an output matrix."""
    head = 0 if shape.tie_word_embeddings else shape.vocab_size * shape.hidden_size
    return shape.parameter_count() - head + shape.hidden_size


def gathered_bytes(shape: ModelConfig, bytes_each: int) -> int:
    """Return the bytes of the weights, and of the gradients in fp32, that a pass with `shard_weights` has gathered.

    These are two blocks, one of them with gradients, and embeddings and head.
    """
    embeddings = shape.vocab_size * shape.hidden_size * (1 if shape.tie_word_embeddings else 2)
    block = (shape.parameter_count() - embeddings) // shape.num_hidden_layers
    return bytes_each * (2 * block + embeddings) + 4 * (block + embeddings)


def _passes(stage: Training, use: MemoryUse, shape: ModelConfig, setting: Setting) -> dict[str, int]:
    """Return what a forward and a backward pass hold."""
    b, layers = setting.bytes_each, shape.num_hidden_layers
    shared = use.prompts if shape.is_native else 0  # other models compute a prompt in the row of its completion
    tokens = use.trained_tokens + shared * PROMPT_TOKENS
    activations = shape.activation_bytes(tokens, b)
    backward = tokens * (2 * shape.hidden_size + 4 * shape.mlp_width) * b
    prefix = PROMPT_TOKENS if shared else 0
    rows = -(-use.trained_tokens // max(1, use.text_tokens)) if use.prompts else 0
    attention = 2 * rows * prefix * token_cache_bytes(shape, b)
    if setting.device == "cpu" and setting.dtype == "bfloat16" and shape.is_native:
        keys = prefix + (use.text_tokens + QUERY_BLOCK) // 2
        attention += tokens * layers * shape.num_attention_heads * keys * b
    if recomputes(stage, use, shape, b):
        activations = tokens * layers * shape.hidden_size * b + activations // layers
        attention //= layers
    parts = {"activations": activations + backward, "attention": attention}
    if not use.has_logits:
        return parts
    head = shape.vocab_size * shape.hidden_size
    chunk = min(LOGIT_CHUNK[setting.device], use.trained_tokens * shape.vocab_size)
    has_gradient = not (isinstance(stage, Adapters) and stage.lora_rank)
    converted = 4 * head * (setting.device == "cpu" and b == 2 and stage.fp32_head)
    return {**parts, "logits": 3 * 4 * chunk + converted + 12 * head * has_gradient}


def recomputes(stage: Training, use: MemoryUse, shape: ModelConfig, bytes_each: int) -> bool:
    """Return whether the backward pass of a stage computes activations again."""
    return (
        shape.should_recompute(use.trained_tokens, bytes_each) if stage.recompute == "auto" else stage.recompute == "on"
    )


def _generation(use: MemoryUse, shape: ModelConfig, setting: Setting) -> dict[str, int]:
    b, rows = setting.bytes_each, setting.max_concurrent
    if use.completions is not None:
        rows = min(rows, -(-use.completions // setting.processes))
    tokens = rows * use.completion_tokens + -(-rows // use.samples) * PROMPT_TOKENS
    if setting.kv_cache_tokens is not None:
        tokens = min(tokens, setting.kv_cache_tokens)
    parts = {
        "packed": _packed_bytes(shape, b) if setting.device == "cpu" and shape.is_native else 0,
        "kv_cache": _cache_bytes(tokens, shape, setting),
        "sampling": rows * shape.vocab_size * 4 * (10 if use.truncates else 3),
    }
    if use.completions:
        parts["completions"] = (1 + use.samples_ahead) * use.completions * completion_bytes(use.completion_tokens)
    return parts


def _packed_bytes(shape: ModelConfig, bytes_each: int) -> int:
    copies = 2 if bytes_each == 4 else 1
    if copies * bytes_each * shape.parameter_count() >= PACKED_SHARE * machine.memory_bytes():
        return 0
    head = shape.vocab_size * shape.hidden_size  # in fp32, so it has two copies in any case
    blocks = shape.parameter_count() - head * (1 if shape.tie_word_embeddings else 2)
    return blocks * copies * bytes_each + 2 * 4 * head
