"""A rollout that a checkpoint keeps comes back to the bit: what is learned from it must not change on the way."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from r1kit.config import RL
from r1kit.stages.rollout import Group, Rollout, pack, unpack
from r1kit.types import Completion, Problem, Score

floats = st.floats(allow_nan=False)
names = st.text(max_size=8)
problems = st.builds(
    Problem, names, names, names, extra=st.dictionaries(names, st.integers() | st.lists(st.integers()))
)
completions = st.builds(
    Completion, names, st.integers(0, 9), st.tuples(st.integers(0), st.integers(0)), st.tuples(floats, floats), names,
    st.sampled_from(["stop", "length"]), st.integers(0, 9),
)  # fmt: skip
scores = st.builds(Score, floats, st.dictionaries(names, floats), st.none() | names, names, st.booleans())
groups = st.builds(Group, problems, *(st.lists(each, min_size=2, max_size=2) for each in (completions, scores, floats)))


@given(st.lists(groups, min_size=1, max_size=4), st.booleans())
def test_packed_as_json_and_unpacked_a_rollout_is_the_same(drawn: list[Group], dynamic_sampling: bool) -> None:
    sizes = dict(prompts_per_step=2, steps_per_rollout=1, dynamic_sampling=dynamic_sampling)
    config = RL(kind="rl", model="m", prompts=["world:logic"], **sizes)
    found = unpack(json.loads(json.dumps(pack(Rollout(7, drawn)))), config)
    assert found.step == 7 and found.drawn == drawn and len(found.groups) in (1, 2)
    assert all(group.varies for group in found.groups) or not dynamic_sampling or found.groups == drawn[:2]
