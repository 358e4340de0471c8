"""vLLM in this process: it samples what the pushed weights give, and every push is proved."""

from __future__ import annotations

import pytest
import torch
from vllm_agreement import agreement, check_updates, differences, nudge, questions
from vllm_process import MODEL

from r1kit.engine.base import EngineChoice, SamplingParams
from r1kit.engine.factory import make_engine
from r1kit.engine.vllm import loading, local
from r1kit.engine.vllm.errors import EmptyUpdate, PartialUpdate, StaleWeights
from r1kit.learn.lora import add_adapters, merge_adapters
from r1kit.model.hf import load_model, load_tokenizer

TOKENIZER = load_tokenizer(MODEL)
REQUESTS = questions(TOKENIZER, 256)


@pytest.fixture
def model():
    return load_model(MODEL, torch.float32, "cpu")


@pytest.fixture
def engine(model):
    return make_engine(model, TOKENIZER, 64, 64 * 256, EngineChoice("vllm"))


def test_greedy_answers_agree_before_and_after_updates(engine, model):
    check_updates(engine, model, TOKENIZER, REQUESTS)


def test_samples_repeat_in_another_batch_and_have_tempered_log_probabilities(engine, model):
    params = SamplingParams(seed=3, max_tokens=40, temperature=0.7)
    some = [request.__class__(request.prompt_id, request.token_ids, 4) for request in REQUESTS[:16]]
    heard: list[object] = []
    all_of_them = engine.generate(some, params, heard.append)
    assert len(heard) == len(all_of_them) == 64
    assert len({c.token_ids for c in all_of_them[:4]}) > 1
    alone = engine.generate(some[4:8], params)
    assert sum(a.token_ids == b.token_ids for a, b in zip(all_of_them[16:32], alone, strict=True)) >= 15  # of 16
    assert float(differences(all_of_them, some, model, 0.7).mean()) <= 1e-4


def test_stop_strings_end_completions_at_their_first_token(engine, model):
    params = SamplingParams(seed=3, max_tokens=40, temperature=0)
    full = engine.generate(REQUESTS[:4], params)
    stop = str(TOKENIZER.decode(full[0].token_ids[5:7]))
    for cut, long in zip(engine.generate(REQUESTS[:4], SamplingParams(3, 40, 0, stop=(stop,))), full, strict=True):
        assert cut.token_ids == long.token_ids[: len(cut.token_ids)]
        assert (stop in cut.text) == (stop in long.text)
        assert stop not in str(TOKENIZER.decode(cut.token_ids[:-1]))


def test_an_abandoned_call_leaves_nothing_behind(engine):
    params = SamplingParams(seed=3, max_tokens=40)
    next(iter(engine.finished(REQUESTS[:32], params)))
    assert not engine.llm.llm_engine.has_unfinished_requests()
    assert len(engine.generate(REQUESTS[:2], params)) == 2


def test_adapters_are_pushed_merged(engine, model):
    add_adapters(model, 4, 8.0, seed=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    engine.load_weights(model, 1)
    found = agreement(engine, merge_adapters(model), TOKENIZER, REQUESTS[:64])
    assert found.equal >= 0.99 and found.mean <= 1e-4


def test_an_update_without_weights_is_an_error(engine, model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "served_weights", lambda model: iter(()))
    with pytest.raises(EmptyUpdate):
        engine.load_weights(model, 1)


@pytest.mark.parametrize("dropped", ["lm_head.weight", "model.layers.0.self_attn.k_proj.weight", "model.norm.weight"])
def test_an_update_that_lacks_a_weight_is_an_error(engine, model, monkeypatch: pytest.MonkeyPatch, dropped: str):
    every = local.served_weights
    monkeypatch.setattr(local, "served_weights", lambda model: (x for x in every(model) if x[0] != dropped))
    with pytest.raises(PartialUpdate, match=dropped):
        engine.load_weights(model, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-5, 1e-3])
def test_an_update_that_is_not_applied_is_an_error(monkeypatch: pytest.MonkeyPatch, size: float, dtype: torch.dtype):
    """Even one as small as those of training: the names and the version are right, the weights are not."""
    model = load_model(MODEL, dtype, "cpu")
    engine = make_engine(model, TOKENIZER, 64, 64 * 256, EngineChoice("vllm"))
    monkeypatch.setattr(loading, "load_into_worker", lambda worker, weights: [*weights][:0])
    nudge(model, size)
    with pytest.raises(StaleWeights, match="weights are still zero"):
        engine.load_weights(model, 1)


def test_threads_of_the_learner_stay_as_they_were(engine):
    before = torch.get_num_threads()
    torch.set_num_threads(before)
    assert torch.get_num_threads() == before
