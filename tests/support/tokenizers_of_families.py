"""Real transformers tokenizers with the special tokens, post-processors and chat templates of well-known families.

The templates are our own, in the families' formats.
"""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CHATML_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|head|>' + m['role'] + '<|/head|>\n\n' + m['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (  # drops system messages
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
WITHOUT_BOS = MISTRAL.removeprefix("{{ bos_token }}")
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '<U>' + m['content'] }}"
    "{% elif m['role'] == 'assistant' %}{{ '<A>' + m['content'].split('</think>')[-1] + eos_token }}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<A><think>\n' }}{% endif %}"
)

# family -> (special tokens, BOS, whether it is prepended, EOS, chat template, the token that ends an answer)
FAMILIES: dict[str, tuple[list[str], str | None, bool, str, str | None, str]] = {
    "llama3-base": (["<bos>", "<eos>"], "<bos>", True, "<eos>", None, "<eos>"),
    "llama3": (["<bos>", "<eos>", "<|head|>", "<|/head|>", "<|eot_id|>"], "<bos>", True, "<eos>", LLAMA3, "<|eot_id|>"),
    "gemma": (["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", True, "<eos>", GEMMA, "<end_of_turn>"),
    "mistral": (["<s>", "</s>"], "<s>", True, "</s>", MISTRAL, "</s>"),
    "mistral-without-bos": (["<s>", "</s>"], "<s>", True, "</s>", WITHOUT_BOS, "</s>"),
    "qwen2.5-base": (CHATML_TOKENS, None, False, "<|endoftext|>", CHATML, "<|im_end|>"),
    "smollm2": (CHATML_TOKENS, "<|im_start|>", False, "<|im_end|>", CHATML, "<|im_end|>"),
    "smollm2-base": (["<|endoftext|>", "<|im_start|>"], "<|im_start|>", False, "<|endoftext|>", None, "<|endoftext|>"),
    "r1-distill": (["<bos>", "<eos>"], "<bos>", True, "<eos>", R1, "<eos>"),
}  # fmt: skip


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes, with the special tokens of a family."""
    special, bos, prepends, eos, chat_template, _ = FAMILIES[family]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    if prepends and bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
    fast.chat_template = chat_template
    return fast
