"""How the benchmark of growth compares time with work."""

from __future__ import annotations

from types import ModuleType

import pytest
from paths import ROOT


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import growth

    return growth


def test_time_in_proportion_to_the_work_has_exponent_1(growth: ModuleType) -> None:
    as_work = growth.Growth(seconds=[2.0, 20.0, 80.0], limits=[1.0, 10.0, 40.0])
    assert as_work.shares == [0.5, 0.5, 0.5]
    assert (as_work.fall, as_work.exponent) == (1.0, pytest.approx(1.0))


def test_time_that_grows_faster_than_the_work_is_marked(growth: ModuleType) -> None:
    quadratic = growth.Growth(seconds=[1.0, 16.0], limits=[1.0, 4.0])
    assert (quadratic.fall, quadratic.exponent) == (4.0, pytest.approx(2.0))
    page = growth.growth_table("completions", [64, 256, 1024], {"update": quadratic})
    assert page.splitlines()[-1] == (
        "| update | 1,000 / 1,000 = 100% | 4,000 / 16,000 = 25% | does not fit | **2.00** | **4.00** |"
    )


def test_work_that_does_not_grow_has_no_exponent(growth: ModuleType) -> None:
    constant = growth.Growth(seconds=[1.0, 1.3], limits=[1.0, 1.0])
    assert (constant.fall, constant.exponent) == (pytest.approx(1.3), None)


def test_memory_is_compared_with_weights_and_keys_and_values(growth: ModuleType) -> None:
    memory = growth.Memory(peak=300, weights=60, cache=40, packed=80, logits=20)
    assert (memory.ratio, memory.ratio_of_all) == (3.0, 1.5)


def test_every_point_of_an_axis_has_more_work(growth: ModuleType) -> None:
    for axis in growth.AXES.values():
        points = [axis.point(value) for value in axis.values]
        sizes = [p.shape.parameter_count() * p.size.completions * p.size.tokens for p in points]
        assert sizes == sorted(set(sizes))
        assert all(p.size.completions % p.size.rows == 0 for p in points)


def test_products_of_layers_count_two_operations_for_each_weight(growth: ModuleType) -> None:
    import work

    shape = growth.SHAPE
    one, four = (sum(p.work.flop for p in work.layers(shape, 512, "bfloat16", n)) for n in (1, 4))
    assert four == 4 * one
    parameters = shape.parameter_count() - shape.vocab_size * shape.hidden_size
    assert one == pytest.approx(2 * 512 * parameters, rel=0.01)  # biases and gains are not in products
