"""The codec: values survive a round trip, equality is by exact type, and hostile text is refused cheaply."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r1kit.rewards.sandbox import codec, wire
from r1kit.rewards.sandbox.base import Outcome

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9))
keys = st.one_of(scalars, st.tuples(scalars, st.frozensets(scalars, max_size=3)))
values = st.recursive(
    keys | st.sets(keys, max_size=3),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)
untimed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@untimed
@given(values)
def test_values_survive_a_round_trip(value: codec.Value) -> None:
    assert codec.same(value, codec.unpack(codec.pack(value), 10**6))


@untimed
@given(values, values)
def test_same_is_symmetric_and_implies_equality(a: codec.Value, b: codec.Value) -> None:
    assert codec.same(a, b) == codec.same(b, a)
    assert not codec.same(a, b) or (a == b and type(a) is type(b))


UNEQUAL = [
    *[(1, True), (1, 1.0), (0, False), ([1], (1,)), ({1}, {True}), ({1}, frozenset({1})), ({1: 2}, {True: 2})],
    *[({1: 2}, {1: 2.0}), ({(1,)}, {(1.0,)}), ("1", 1), ([1], [1, 1]), ({1: 1}, {1: 1, 2: 2}), (None, False)],
    *[(math.nan, math.nan), ([math.nan], [math.nan]), ({math.nan}, {math.nan}), (math.inf, -math.inf)],
]


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_unequal_values_are_not_the_same(a: codec.Value, b: codec.Value) -> None:
    assert not codec.same(a, b) and not codec.same(b, a)


def test_the_tolerance_applies_to_floats_only() -> None:
    assert codec.same([0.1 + 0.2, "x"], [0.3, "x"], tolerance=1e-9) and not codec.same(0.1 + 0.2, 0.3)
    assert codec.same(1e9, 1e9 + 1, tolerance=1e-6) and not codec.same(1e-9, 3e-9, tolerance=1e-9)
    assert not codec.same(2, 2.0, tolerance=1) and not codec.same(3, 4, tolerance=9)
    assert not codec.same(math.inf, 1.0, tolerance=9) and codec.same(math.inf, math.inf, tolerance=9)


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize("value", [Liar(1), [Liar(1)], {Liar(1): 1}, object(), b"x", 1j, range(3), len])
def test_other_types_cannot_be_encoded(value: object) -> None:
    with pytest.raises(codec.CodecError, match="does not cross"):
        codec.encode(value)


@pytest.mark.slow
def test_depth_and_size_are_limited() -> None:
    deep, wide, cycle = [], [], []
    for _ in range(60):
        deep, wide = [deep], [wide, wide]
    cycle.append(cycle)
    for value in (deep, wide, cycle, [0] * (codec.MAX_ITEMS + 1)):
        with pytest.raises(codec.CodecError):
            codec.encode(value)
    with pytest.raises(codec.CodecError, match="at most 9"):
        codec.unpack(codec.pack("long enough"), 9)


HOSTILE = [
    *["", "nonsense", "1", "1.5", "NaN", "[1]", "9" * 10**5, "[" * 10**5, '{"int": 1}', '{"int": "x"}', "{}"],
    *['{"float": "x"}', '{"float": "0x1p99999"}', '{"int": "0x1", "float": "0x1p0"}', '{"list": []}'],
    *['{"dict": [["a"]]}', '{"dict": {"a": null}}', '{"dict": [[[], null]]}', '{"set": "ab"}', '{"set": [[]]}'],
    "[" * 55 + "]" * 55,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(codec.CodecError):
        codec.unpack(text, 10**6)


def test_keys_with_the_same_hash_are_refused_quickly() -> None:
    """Every multiple of 2**61 - 1 has hash 0: a set of 50,000 would take minutes to build."""
    text = json.dumps({"set": [{"int": hex(n * (2**61 - 1))} for n in range(50_000)]})
    start = time.process_time()
    with pytest.raises(codec.CodecError, match="one hash"):
        codec.unpack(text, 10**7)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("mode", "reply", "status"),
    [
        ("call", '{"status": "ok", "value": {"int": "0x2"}}', "ok"),
        ("call", '{"status": "infra_error", "detail": ""}', "error"),  # would mask the candidate's verdict
        ("call", '{"status": "ok"}', "error"),
        ("call", '["ok"]', "error"),
        ("call", "null", "error"),
        ("call", '{"status": ["ok"], "value": null}', "error"),
        ("stdin", '{"status": "ok", "value": ["x"]}', "error"),
        ("symbolic", '{"status": "ok", "value": "yes"}', "error"),
        ("symbolic", '{"status": "ok", "value": null}', "ok"),
        ("stdin", '{"status": "over_limit", "detail": {"a": "b"}}', "over_limit"),
    ],
)
def test_replies_are_parsed_as_hostile_text(mode: str, reply: str, status: str) -> None:
    outcome = wire.parse_reply(mode, reply, 1000)
    assert isinstance(outcome, Outcome) and outcome.status == status and isinstance(outcome.detail, str)
