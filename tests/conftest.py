"""Fixtures that several test files share. Torch is imported where it is needed: some tests are about its absence."""

from __future__ import annotations

import copy
import os
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Examples take as long as the machine is busy. CI draws the same ones for everybody, so that a rare example that fails
# stops a person who can look into it, and not the next change.
settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("busy machine")

FAST = ("unit", "architecture")  # folders; the others start processes, train or attack, so all their tests are slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow folders, and start them first: no process then ends alone with a long test."""

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(Path(__file__).parent).parts[0]

    def is_fast(item: pytest.Item) -> bool:
        return folder(item) in FAST

    for item in items:
        if not is_fast(item):
            item.add_marker(pytest.mark.slow)
        if folder(item) == "distributed":
            item.add_marker(pytest.mark.distributed)
    items.sort(key=is_fast)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public data sets and vectors beside the repository; tests that read them are skipped where there are none."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}")
    return path


@pytest.fixture(scope="session")
def tokenizer():
    """A small byte-level tokenizer, trained on the sprout corpus."""
    from r1kit.data.tokenizer import train_tokenizer
    from r1kit.data.worlds.corpus import documents

    return train_tokenizer(islice(documents("sprout-textbook", 0), 200), 320)


@pytest.fixture(scope="session")
def chat_tokenizer(tokenizer):
    """The same with the chat template of models without one."""
    from r1kit.data.template import set_template

    conversing = copy.deepcopy(tokenizer)
    set_template(conversing, "chat")
    return conversing


@pytest.fixture(scope="session")
def make_decoder(tokenizer):
    """Make random decoders, called with (seed, **changes to the config). Their logits vary strongly."""
    import torch

    from r1kit.model.config import ModelConfig
    from r1kit.model.decoder import Decoder

    def make(seed: int = 0, **changes) -> Decoder:
        shape = dict(model_type="qwen2", vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48)
        shape |= dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8)
        model = Decoder(ModelConfig(**{**shape, "eos_token_ids": (tokenizer.eos_token_id,), **changes}))
        model.init_weights(seed)
        with torch.no_grad():  # small initial weights would make all tokens nearly equally likely
            for weight in (w for w in model.parameters() if w.ndim == 2):
                weight.mul_(6)
        return model

    return make


@pytest.fixture(scope="session")
def sandbox():
    """A sandbox of the tier that R1KIT_TEST_SANDBOX names; by default the strongest that works on this machine."""
    from r1kit.rewards.sandbox import open_sandbox

    opened = open_sandbox(os.environ.get("R1KIT_TEST_SANDBOX", "auto"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def sampled():
    """Return a function (rows, about) -> about that many rows, evenly spread; all rows with R1KIT_TEST_ALL=1."""
    return lambda rows, about: rows if os.environ.get("R1KIT_TEST_ALL") else rows[:: max(1, len(rows) // about)]
