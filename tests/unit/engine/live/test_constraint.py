"""Constrained answers match their grammar, whatever the model prefers; invalid and hostile grammars are refused."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from r1kit.engine.base import SamplingParams
from r1kit.engine.live import constraint as module
from r1kit.engine.live.base import Constraint, LiveRequest
from r1kit.engine.live.constraint import Grammars
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.live.native import NativeLiveEngine
from r1kit.errors import UserError

pytest.importorskip("llguidance")

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer", "minimum": 0, "maximum": 999}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
JSON = Constraint("json_schema", json.dumps(SCHEMA))


def ask(tokenizer, name: str, constraint: Constraint | None, seed: int = 0, tokens: int = 120) -> LiveRequest:
    params = SamplingParams(seed=seed, max_tokens=tokens, temperature=1.2)
    return LiveRequest(name, tuple(tokenizer.encode("What is 3 + 4?")), params, constraint=constraint)


@pytest.fixture(scope="module")
def random_model(sprout):
    """A model that has learned nothing."""
    model = type(sprout[0])(sprout[0].config)
    model.init_weights(1)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_finished_answer_of_a_random_model_matches(random_model, sprout, run, seed):
    tokenizer = sprout[1]
    asked = [ask(tokenizer, f"json{i}", JSON, seed + 10 * i) for i in range(4)]
    asked += [ask(tokenizer, f"regex{i}", Constraint("regex", "[a-f]{3,9}-(yes|no)"), seed + i) for i in range(4)]
    asked.append(ask(tokenizer, "free", None, seed))
    answers = run(NativeLiveEngine(random_model, tokenizer), asked)
    assert answers["free", 0] == run(NativeLiveEngine(random_model, tokenizer), asked[-1:])["free", 0]
    finished = 0
    for (name, _), answer in answers.items():
        text = tokenizer.decode(answer.token_ids, skip_special_tokens=True)
        if name == "free" or answer.finish_reason == "length":
            continue
        finished += 1
        assert answer.finish_reason == "stop" and not answer.error
        if name.startswith("json"):
            value = json.loads(text)
            assert value.keys() == {"answer", "sure"} and 0 <= value["answer"] <= 999
        else:
            assert re.fullmatch("[a-f]{3,9}-(yes|no)", text)
    assert finished >= 6


def test_log_probabilities_are_those_of_the_model(sprout, run):
    """A constraint changes what is sampled; the log-probability of a token is that without it."""
    model, tokenizer = sprout
    free = ask(tokenizer, "free", None, tokens=1)
    (unconstrained,) = run(NativeLiveEngine(model, tokenizer), [replace(free, top_logprobs=20)]).values()
    (answer,) = run(NativeLiveEngine(model, tokenizer), [replace(ask(tokenizer, "x", JSON), top_logprobs=20)]).values()
    assert answer.top_logprobs[0] == unconstrained.top_logprobs[0]
    assert answer.logprobs[0] < -0.1


def test_a_constraint_begins_behind_its_marker(random_model, sprout, run):
    model, tokenizer = random_model, sprout[1]
    grammar = Grammars(tokenizer, 768, {0}).compile(replace(JSON, after="</think>"))
    for token in tokenizer.encode("so 3 <b> is </think", add_special_tokens=False):
        assert grammar.allowed()[token] and not grammar.allowed()[0], "all but EOS"
        assert not grammar.consume(token)
    assert grammar.allowed().sum() > 300
    for token in tokenizer.encode(">\n", add_special_tokens=False):
        assert not grammar.consume(token)
    allowed = [tokenizer.decode([i]) for i in grammar.allowed().nonzero().squeeze(1).tolist()]
    assert all(text.strip() in ("", "{", '{"') for text in allowed), allowed
    request = ask(tokenizer, "x", Constraint("regex", "(yes|no)", after="e"))
    (answer,) = run(NativeLiveEngine(model, tokenizer), [request]).values()
    text = tokenizer.decode(answer.token_ids, skip_special_tokens=True)
    assert re.fullmatch(r"[^e]*e\s*(yes|no)", text) or answer.finish_reason == "length"


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (Constraint("regex", "(("), "regex"),
        (Constraint("regex", "(?=a)b"), "look-around"),
        (Constraint("json_schema", "{"), "not JSON"),
        (Constraint("json_schema", "[1]"), "list: must be a JSON object"),
        (
            Constraint("json_schema", '{"properties": {"a": {"type": "blah"}}}'),
            'schema.properties.a.type = "blah": not allowed in a JSON Schema (llguidance: Invalid type: blah)',
        ),
        (
            Constraint("json_schema", '{"not": {}}'),
            "json_schema: the schema has keywords that cannot be enforced here: leave them out (llguidance: Unimpl",
        ),
        (
            Constraint("json_schema", '{"$schema": "http://127.0.0.1:9/"}'),
            "names another document, which is not fetched",
        ),
        (Constraint("json_schema", '{"enum": []}'), "json_schema: the schema is satisfied by no value (llguidance: "),
        (Constraint("json_schema", '{"pattern": "(?=a)"}'), "a regular expression that is invalid, or not supported"),
        (Constraint("json_schema", '{"$ref": "#/x"}'), "the schema has a $ref to what is not in it (llguidance: "),
        (Constraint("json_schema", '{"$ref": "file:///etc/passwd"}'), "not present"),
        (Constraint("json_schema", '{"$ref": "#"}'), "json_schema"),
        (Constraint("json_object", after=""), "after"),
    ],
)
def test_invalid_constraints_are_refused_with_the_reason(sprout, constraint, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Grammars(sprout[1], 768, {0}).compile(constraint)


def nested(depth: int) -> str:
    return '{"properties": {"a": ' * depth + "{}" + "}}" * depth


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("json_schema", nested(120)),
        Constraint("json_schema", nested(3000)),
        Constraint("json_schema", json.dumps({"enum": [f"v{i}" for i in range(4900)]})),
        Constraint("json_schema", json.dumps({"enum": [f"v{i}" for i in range(50_000)]})),
        Constraint("json_schema", json.dumps({"properties": {f"p{i}": {} for i in range(5000)}})),
        Constraint("json_schema", json.dumps({"properties": {f"p{i}": {"type": "string"} for i in range(499)}})),
        Constraint("json_schema", json.dumps({"allOf": [{"anyOf": [{"type": "object"}] * 9}] * 9})),
        Constraint("json_schema", json.dumps({"type": "string", "pattern": "^(a|b)*a(a|b){40}$"})),
        Constraint("json_schema", json.dumps({"type": "string", "minLength": 10**6, "maxLength": 10**9})),
        Constraint("regex", "((a{1,100}){1,100}){1,100}"),
        Constraint("regex", "(a|b)*a(a|b){40}"),
        Constraint("regex", "(a*)*" * 5000),
        Constraint("regex", "a" * 100_000),
    ],
    ids=lambda constraint: constraint.source[:30],
)
def test_hostile_constraints_take_little_time(sprout, constraint):
    grammars = Grammars(sprout[1], 768, {0})
    grammars.compile(Constraint("json_object"))  # wraps the tokenizer
    started = time.process_time()
    with suppress(UserError):
        grammar = grammars.compile(constraint)
        for _ in range(20):
            grammar.consume(int(grammar.allowed().nonzero()[-1]))
    assert time.process_time() - started < 3


def test_a_fresh_state_is_that_of_the_beginning(sprout):
    grammar = Grammars(sprout[1], 768, {0}).compile(Constraint("regex", "abc+"))
    first = grammar.allowed()
    for token in sprout[1].encode("ab", add_special_tokens=False):
        grammar.consume(token)
    assert not torch.equal(grammar.allowed(), first) and torch.equal(grammar.fresh().allowed(), first)


def test_constrained_answers_survive_interruptions(sprout, run):
    asked = [ask(sprout[1], f"r{i}", JSON, i, tokens=60) for i in range(6)]
    expected = run(NativeLiveEngine(*sprout), asked)
    engine = NativeLiveEngine(*sprout, max_concurrent=6, kv_cache_tokens=250)
    restarted, restart = [], LiveSample.restart

    def counting(sample):
        restarted.append(sample)
        restart(sample)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveSample, "restart", counting)
        assert run(engine, asked) == expected
    assert restarted


def test_compiled_grammars_are_kept_up_to_a_number(sprout):
    grammars = Grammars(sprout[1], 768, {0})
    for i in range(module.COMPILED + 5):
        grammars.compile(Constraint("regex", f"a{i}"))
    assert len(grammars._compiled) == module.COMPILED
