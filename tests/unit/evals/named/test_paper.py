"""The paper's numbers: every row names a benchmark that r1kit has."""

from __future__ import annotations

import pytest

from r1kit.errors import UserError
from r1kit.evals.named.catalogue import catalogue
from r1kit.evals.named.paper import paper_numbers, paper_rows, paper_tasks
from r1kit.evals.named.sources import bench_names
from r1kit.evals.task import task_names

TABLES = {  # of the paper with benchmarks, v1 and v2
    *("v1 Table 2", "v1 Table 4", "v1 Table 5", "v1 Table 6"),
    *("v2 Table 3", "v2 Table 8", "v2 Table 12", "v2 Table 13", "v2 Table 14", "v2 Table 15", "v2 Table 16"),
    "v2 Table 17",
}


def test_every_row_of_the_tables_names_a_benchmark() -> None:
    assert {where for row in paper_rows() for each in row.numbers for where in each.where.split(", ")} >= TABLES
    unnamed = {row.row for row in paper_rows() if row.benchmark not in task_names()}
    assert unnamed == {"USAMO index", "SST", "BBQ", "ART", "XSTest", "DNA", "HarmBench", "mean of six safety sets"}
    assert len(paper_rows()) == 21 + 21 + 6 + 8 + 3 + 3 + 6 + 5 + 2 + 7 + 1 + 1


def test_numbers_of_a_metric_come_with_their_tables() -> None:
    numbers = {each.model: (each.value, each.where) for each in paper_numbers("aime24", "cons@64")}
    assert numbers["R1-Distill-Qwen-32B"] == (83.3, "v1 Table 5, v2 Table 15")
    values = {(each.model, each.value) for each in paper_numbers("livecodebench:2024-08..2025-01", "pass@1")}
    assert {("R1", 65.9), ("R1-Zero", 50.0)} <= values
    assert len({(each.model, each.value) for each in paper_numbers("aime24", "pass@1")}) == len(
        paper_numbers("aime24", "pass@1")
    )


def test_paper_stands_for_all_its_benchmarks() -> None:
    names = bench_names("gsm8k, paper,aime24")
    assert names[0] == "gsm8k" and set(names[1:]) == set(paper_tasks()) and len(names) == len(set(names)) == 23


def test_the_catalogue_has_the_facts_of_every_benchmark() -> None:
    rows = {row["name"]: row for row in catalogue()}
    assert list(rows) == task_names()
    assert rows["aime24"] | {"remarks": ""} == {
        "name": "aime24",
        "title": "AIME 2024",
        "group": "maths",
        "n": 30,
        "k": 64,
        "metric": "pass@1",
        "grader": "math",
        "licence": "problems MAA; files MIT or Apache-2.0",
        "source": "HuggingFaceH4/aime_2024",
        "split": "train",
        "where": "",
        "template": "chat",
        "max_completion_length": 32_768,
        "variants": "",
        "in_paper": True,
        "harness": "",
        "remarks": "",
    }
    assert [row["n"] for row in catalogue(["ceval:test"])] == [12_342]
    with pytest.raises(UserError, match="unknown benchmark 'nope'"):
        catalogue(["nope"])
