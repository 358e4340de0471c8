"""The stage table of a run with all models of R1: roles, rows, findings, the paper's numbers, and the lineage graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from report_page import Page
from run_factory import write_json, write_lines

from r1kit.report.collect import collect
from r1kit.report.comparison import Cell
from r1kit.report.findings import difference, findings, records, verdict
from r1kit.report.graph import HEIGHT, ROW, WIDTH, edges_of, lineage_graph
from r1kit.report.render import write_report
from r1kit.report.stage_table import StageTable, mean_table, paper_rows, stage_table
from r1kit.report.stage_views import markdown
from r1kit.report.terminal import render_text

SKILL = {"base": 0.2, "zero": 0.8, "dev1": 0.6, "dev2": 0.75, "dev3": 0.75, "r1": 0.8, "small": 0.5, "small_zero": 0.3}
STAGES = {  # name -> (kind, model, data)
    "zero": ("rl", "base", ()), "cold": ("curate", "zero", ()), "dev1": ("sft", "base", ("cold",)),
    "dev2": ("rl", "dev1", ()), "more": ("curate", "dev2", ()), "dev3": ("sft", "base", ("more", "world:talk")),
    "helpful": ("preference", "dev3", ()), "r1": ("rl", "dev3", ()),
    "small": ("sft", "tiny", ("more",)), "small_zero": ("rl", "tiny", ()),
}  # fmt: skip


def summary(value: float, **more: object) -> dict:
    around = [max(0.0, value - 0.02), min(1.0, value + 0.02)]
    return {"pass@1": value, "ci95": around, "cons@4": value + 0.1, "mean_tokens": 20.0, **more}


def make_r1(run: Path, skill: dict[str, float] = SKILL) -> Path:
    """A run with a model of every role; `skill` determines all numbers."""
    lines = ['name = "r1"']
    for name, (kind, model, data) in STAGES.items():
        config = {"kind": kind, "model": model, "data": list(data)}
        if name == "r1":
            config["general"] = [{"prompts": ["world:talk"], "rewards": {"helpful": 1.0}}]
        lines.append(f'[stage.{name}]\nkind = "{kind}"')
        write_json(run / f"stages/{name}/artifact.json", {"kind": kind, "config": config, "seconds": 61.0})
    for model, value in skill.items():
        name = f"{model}_eval"
        lines.append(f'[stage.{name}]\nkind = "evaluate"')
        config = {"kind": "evaluate", "model": model, "benchmarks": {"general": [{"source": "world:talk"}]}}
        write_json(run / f"stages/{name}/artifact.json", {"kind": "evaluate", "config": config})
        language = 0.9 if model == "zero" else 1.0
        intervals = {"cons_gain": [0.05, 0.15], "language": [language - 0.01, language], "readable": [value, value]}
        reasoning = summary(value, language=language, readable=1 - value, intervals=intervals)
        reasoning |= {"by_level": {"1": summary(value)}, "by_family": {"logic": summary(value)}}
        general = summary(value, by_family={"writing": summary(value), "safety": summary(value)})
        results = {"model": model, "benchmarks": {"reasoning": reasoning, "general": general}}
        write_json(run / f"stages/{name}/data/results.json", results)
        reply = "<think> a </think> <answer> Paris </answer>" if value >= 0.75 else "no idea"
        rows = [{"benchmark": "general", "prompt_id": f"p{i}", "question": "Capital?", "answer": "Paris", "sample": 0,
                 "completion": reply} for i in range(40)]  # fmt: skip
        write_lines(run / f"stages/{name}/data/samples.jsonl", rows)
    (run / "recipe.toml").write_text("\n".join(lines))
    return run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_r1(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def table(run_dir: Path) -> StageTable:
    return stage_table(collect(run_dir))


def test_table_has_all_roles_and_rows(table: StageTable) -> None:
    roles = [(column.model, column.role) for column in table.columns]
    assert roles[:6] == [(name, name) for name in ("base", "zero", "dev1", "dev2", "dev3", "r1")]
    assert roles[6:] == [("small", "student"), ("small_zero", "student_rl")]
    rows = {row.key: row for row in table.rows}
    assert list(rows) == [
        "reasoning/pass@1", "reasoning/cons", "reasoning/gain", "reasoning/level/1", "reasoning/family/logic",
        "reasoning/readable", "reasoning/language", "reasoning/mean_tokens", "general/win_rate",
        "general/win_rate_base", "general/pass@1",
        "general/family/safety", "general/family/writing", "general/mean_tokens",
    ]  # fmt: skip
    assert [cell.value for cell in rows["reasoning/pass@1"].cells] == list(SKILL.values())
    assert rows["general/family/writing"].label == "instruction following"
    assert {paper.row for paper in paper_rows()} - set(rows) == {"reasoning/level/3", "reasoning/level/5",
                                                                "general/family/factual QA"}  # fmt: skip
    assert rows["reasoning/gain"].cells[0] == Cell(pytest.approx(0.1), 0.05, 0.15)
    wins = rows["general/win_rate"].cells
    assert wins[1] == Cell(0.5, 0.5, 0.5) and wins[0].high < 0.2, "'no idea' loses to 'Paris'"
    over_base = rows["general/win_rate_base"].cells
    assert over_base[0] == Cell(0.5, 0.5, 0.5) and over_base[1].low > 0.8
    assert wins[3].value == 0.5, "equal replies are a tie, whatever their tags"


def test_verdicts_follow_the_intervals(table: StageTable, tmp_path: Path) -> None:
    by_claim = {finding.claim: finding for finding in findings(table)}
    verdicts = {claim: finding.verdict for claim, finding in by_claim.items()}
    assert verdicts["R1-Zero reasons better than the base"] == "agrees"
    assert verdicts["R1-Zero mixes languages (below 97%)"] == "agrees"
    assert verdicts["R1 keeps one language: at least 97%"] == "agrees"
    assert verdicts["R1 is preferred to the base"] == "agrees"
    assert verdicts["R1 follows instructions better than the base"] == "agrees"
    assert verdicts["R1 reasons at least as well as R1-Zero"] == "no clear difference"
    assert verdicts["distillation beats RL on the same base: small above small_zero"] == "agrees"
    assert verdicts["majority voting beats single answers: small"] == "agrees"
    assert ("AIME 2024", 59.0, 77.9) in [
        p[:3] for p in by_claim["the cold start costs reasoning: R1-Dev1 below R1-Zero"].paper
    ]
    assert by_claim["majority voting beats single answers: R1"].paper[0][1:3] == (79.8, 86.7)
    worse = stage_table(collect(make_r1(tmp_path / "worse", {**SKILL, "zero": 0.1, "small": 0.1})))
    verdicts = {finding.claim: finding.verdict for finding in findings(worse)}
    assert verdicts["R1-Zero reasons better than the base"] == "disagrees"
    assert verdicts["distillation beats RL on the same base: small above small_zero"] == "disagrees"


cells = st.tuples(*[st.floats(0, 1)] * 3).map(sorted).map(lambda x: Cell(x[1], x[0], x[2]))


@given(cells, cells)
def test_verdict_is_antisymmetric(one: Cell, other: Cell) -> None:
    opposite = {"agrees": "disagrees", "disagrees": "agrees"}
    assert verdict(one, other) == opposite.get(verdict(other, one), verdict(other, one))
    if one.high < other.low:
        assert verdict(one, other) == "agrees", "disjoint intervals always differ"
    assert verdict(one, one) == "no clear difference" and verdict(one, Cell(0.5)) == "not measured"


def test_difference_matches_newcombe() -> None:
    # Newcombe 1998, table II, example (a): 56/70 and 48/80, method 10: 0.0524 to 0.3339
    low, high = Cell(0.6, 0.4905, 0.7003), Cell(0.8, 0.6921, 0.8769)
    assert difference(low, high) == (pytest.approx(0.0524, abs=2e-3), pytest.approx(0.3339, abs=2e-3))


def test_mean_of_runs_is_cell_by_cell(table: StageTable, tmp_path: Path) -> None:
    other = stage_table(collect(make_r1(tmp_path / "other", {**SKILL, "base": 0.4})))
    mean = mean_table([table, other])
    row = next(row for row in mean.rows if row.key == "reasoning/pass@1")
    assert row.cells[0] == Cell(pytest.approx(0.3), pytest.approx(0.28), pytest.approx(0.32))
    assert json.loads(json.dumps(records(mean)))["directions"]
    text = markdown(mean, [table, other])
    assert "| pass@1 | 30.0 % 28-32 |" in text and "| *paper: AIME 2024* | *15.6* | *77.9* |" in text
    assert "| 2 of 2 |" in text and len({line.count("|") for line in text.split("\n\n")[0].splitlines()}) == 1
    fewer = stage_table(collect(make_r1(tmp_path / "fewer", {"base": 0.1, "zero": 0.2, "dev1": 0.2})))
    with pytest.raises(ValueError, match="did not evaluate the same models"):
        mean_table([table, fewer])


def write_problems(run: Path, stage: str, values: list[float]) -> None:
    rows = [
        {"benchmark": "reasoning", "prompt_id": f"p{i}", "level": 1, "family": "logic", "language": "en",
         "values": {"pass@1": value, "cons@2": 0.0, "cons@4": value + 0.01 * (i % 3), "language": 0.95}}
        for i, value in enumerate(values)
    ]  # fmt: skip
    write_lines(run / f"stages/{stage}/data/problems.jsonl", rows)


def test_findings_are_paired_by_problem_and_pooled_over_runs(tmp_path: Path) -> None:
    skill = dict.fromkeys(SKILL, 0.5)  # all cells are equal, and their intervals overlap
    tables, difficulty = [], [i / 100 for i in range(100)]
    for seed in range(3):
        run = make_r1(tmp_path / str(seed), skill)
        write_problems(run, "base_eval", difficulty)
        gains = [0.015 + 0.001 * seed + 0.01 * (i % 2) for i in range(100)]
        write_problems(run, "zero_eval", [x + gain for x, gain in zip(difficulty, gains, strict=True)])
        tables.append(stage_table(collect(run)))
    finding = findings(mean_table(tables))[0]
    assert finding.claim == "R1-Zero reasons better than the base" and finding.verdict == "agrees"
    assert sum(finding.difference) / 2 == pytest.approx(0.021) and finding.difference[1] < 0.025
    votes = {f.claim: f for f in findings(tables[0])}["majority voting beats single answers: R1-Zero"]
    assert sum(votes.difference) / 2 == pytest.approx(0.0099), "the largest vote less the single answer"
    mixes = {f.claim: f for f in findings(tables[0])}["R1-Zero mixes languages (below 97%)"]
    assert mixes.difference == (pytest.approx(0.02), pytest.approx(0.02)), "a metric with the name of a section"
    levels = {row.key: row for row in tables[0].rows}["reasoning/level/1"]
    assert [len(cell.runs) for cell in levels.cells[:3]] == [1, 1, 0]
    others = findings(tables[0])[5]
    assert others.difference == difference(others.low, others.high) and others.verdict == "no clear difference"
    assert "p1" not in json.dumps(records(mean_table(tables))), "values of problems are for comparing only"


def test_damaged_values_of_problems_are_left_out(tmp_path: Path) -> None:
    run = make_r1(tmp_path / "run")
    broken = [{}, {"benchmark": "reasoning", "values": 3}, {"benchmark": "reasoning", "values": {"pass@1": "high"}}]
    write_lines(run / "stages/base_eval/data/problems.jsonl", broken)
    assert all(not cell.runs for row in stage_table(collect(run)).rows for cell in row.cells if row.metric == "pass@1")


@pytest.mark.slow
def test_terminal_and_page_show_the_table(run_dir: Path) -> None:
    text = render_text(run_dir)
    assert "R1-Zero" in text and "small_zero" in text and "no clear difference" in text
    assert max(map(len, text.splitlines())) <= 120
    page = Page(write_report(run_dir))
    for words in (
        "instruction following",
        "paper: AIME 2024",
        "preferred to R1-Zero",
        "v2 Table 3, Nature Table 2",
        "a tie counts half",
        "Results at each stage",
        "R1-Dev3",
    ):
        assert words in page.text


def test_lineage_boxes_do_not_overlap(run_dir: Path) -> None:
    run = collect(run_dir)
    edges = edges_of({stage.name: stage for stage in run.stages})
    assert {("dev3", "r1", "model"), ("helpful", "r1", "rewards"), ("cold", "dev1", "data")} <= set(edges)
    drawing = lineage_graph(run)
    assert drawing is not None
    corners = [(float(box.left), float(box.top)) for box in drawing.boxes]
    assert len(corners) == len(run.stages) + 3 and len(drawing.lines) == len(edges)  # base, tiny, world:talk
    for i, (x, y) in enumerate(corners):
        assert all(abs(x - u) >= WIDTH or abs(y - v) >= HEIGHT for u, v in corners[:i])
    top = {box.name: float(box.top) for box in drawing.boxes}
    assert all(top[end] >= top[start] + ROW for start, end, _ in edges)


@pytest.mark.slow
def test_whole_r1_benchmark_writes_both_files(run_dir: Path, tmp_path: Path) -> None:
    lineage = {"recipe": "r1", "seed": 0, "source": "abc", "threads": 2, "dtype": "float32"}
    write_json(run_dir / "lineage.json", {**lineage, "stages": {}})
    for path in run_dir.glob("stages/*/artifact.json"):
        path.write_text(json.dumps({"seconds": 1.0, **json.loads(path.read_text())}))
    command = [sys.executable, str(ROOT / "benchmarks/whole_r1.py"), str(run_dir), str(run_dir), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["bench"] == "whole_r1"
    assert "2 of 2" in (tmp_path / "r1.md").read_text()
    assert len(json.loads((tmp_path / "r1.json").read_text())["of each run"]) == 2
