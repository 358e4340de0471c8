"""The report of a run: its content, escaping of model output, and damaged or unfinished runs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import Page
from rich.console import Console
from run_factory import HOSTILE, make_run, write_json, write_lines

from r1kit.metrics.glossary import EXPLANATIONS, explain
from r1kit.report import collect as reading
from r1kit.report import render
from r1kit.report.collect import TEXT_HEAD, TEXT_TAIL, Stage, collect
from r1kit.report.comparison import comparison_rows
from r1kit.report.excerpts import fit_rollouts, shared_questions, to_json
from r1kit.report.plots import MAX_POINTS, charts, compact
from r1kit.report.render import write_report
from r1kit.report.terminal import comparison_table, render_text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "zero", text=HOSTILE)


@pytest.fixture(scope="module")
def page(finished):
    return Page(write_report(finished))


@pytest.mark.slow
def test_page_shows_a_finished_run(page, finished):
    for words in (
        "sprout-zero",
        "4 of 4 stages done",
        "4 min 4 s in total",
        "40 problems, 4 samples each",
        "pass@1 by level",
    ):
        assert words in page.text
    summary = json.loads((finished / "stages/after/data/results.json").read_text())["benchmarks"]["held-out"]
    assert f"{100 * summary['pass@1']:.1f} %" in page.text and f"{100 * summary['cons@4']:.1f} %" in page.text
    for title in ("Held-out accuracy", "Reward", "KL to the reference", "Entropy", "Time by phase", "Learning rate"):
        assert title in page.text
    for words in ("Majority voting", "Accuracy by length", "Beside the paper", "79.8", "cap 200 tokens"):
        assert words in page.text
    assert page.data["plots"]["vote_curve-held-out"]["x"] == [1, 2, 4]
    assert explain("loss", "rl") in page.text and explain("loss", "pretrain") in page.text
    assert page.tags.count("svg") == len(page.data["plots"]) + 1 > 15  # plus the lineage graph
    assert "Not on this page" not in page.text
    assert len(page.ids) == len(set(page.ids))


def test_page_loads_nothing_and_its_policy_forbids_it(page, finished):
    assert all(link.startswith("#") for link in page.links)
    source = (finished / "report.html").read_text(encoding="utf-8")
    outside_data = source.replace(page.scripts[0], "")
    assert not re.search(r"https?:|@import|url\((?!#)", outside_data)
    own = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{own}'" in page.csp and "default-src 'none'" in page.csp


def test_model_output_is_not_markup(page, finished):
    assert page.tags.count("script") == 2 and "img" not in page.tags
    groups = page.data["rollouts"]["zero"]["10"]
    expected = [json.loads(line)["completion"] for line in (finished / "stages/zero/rollouts/step_000010.jsonl").open()]
    assert [c["completion"] for g in groups for c in g["completions"]] == expected and HOSTILE in expected[0]


def test_hostile_names_are_escaped(tmp_path):
    evil = "<script>1</script>"
    write_json(
        tmp_path / "stages" / "a&b" / "artifact.json", {"kind": evil, "summary": {evil: evil}, "parents": {evil: 1}}
    )
    write_json(
        tmp_path / "stages/a&b/data/results.json",
        {"benchmarks": {evil: {"pass@1": 0.5, "by_family": {evil: {"pass@1": 1}}}}},
    )
    write_lines(tmp_path / "stages/a&b/metrics.jsonl", [{"step": 1, evil: 1.0, "a\\1$x$": 2.0}])
    write_lines(tmp_path / "stages/a&b/rollouts/step_000001.jsonl", [{"prompt_id": evil, "completion": evil}])
    with (tmp_path / "stages/a&b/rollouts/step_000001.jsonl").open("a") as file:
        file.write(
            '{"prompt_id": "\\ud800", "completion": "\\ud800"}\n'
        )  # half a surrogate pair, as truncated byte-level tokens give
    page = Page(write_report(tmp_path))
    assert page.tags.count("script") == 2
    assert page.data["rollouts"]["a&b"]["1"][1]["completions"][0]["completion"] == "?"
    assert page.text.count(evil) >= 5


def test_templates_never_switch_escaping_off():
    templates = list(Path(render.__file__).parent.glob("templates/*.html"))
    assert len(templates) > 5
    for path in templates:
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text(encoding="utf-8")), path


@given(
    st.recursive(
        st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8
    )
)
@pytest.mark.slow
def test_embedded_json_has_no_markup_and_round_trips(value):
    text = to_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert to_json(json.loads(text)) == text


@pytest.mark.slow
def test_equal_files_give_an_equal_page(finished, page):
    first = (finished / "report.html").read_bytes()
    assert write_report(finished).read_bytes() == first
    assert not list(finished.glob("*.tmp")) + list(finished.glob(".*"))


@pytest.mark.slow
def test_unfinished_run(tmp_path):
    run = make_run(tmp_path / "run", steps=30)
    for name in ("zero", "after"):
        (run / "stages" / name / "artifact.json").unlink()
    (run / "stages/after/data/results.json").unlink()
    with (run / "stages/zero/metrics.jsonl").open("a") as log:
        log.write('{"step": 31, "rew')  # a line that is being written
    (run / "stages/zero/rollouts/step_000030.jsonl").write_bytes(b'{"prompt_id": "p", "completion": "\xe4')
    text = Page(write_report(run)).text
    assert "2 of 4 stages done" in text and "step 30 of 30" in text and "Stage zero is under way" in text
    assert "not JSON" not in text


@pytest.mark.slow
def test_broken_files_are_listed_and_the_rest_is_shown(tmp_path):
    run = make_run(tmp_path / "run", steps=20)
    log = run / "stages/zero/metrics.jsonl"
    lines = log.read_text().splitlines()
    lines[4], lines[7] = lines[4][:20], "[1, 2]"
    log.write_text(
        "\n".join([*lines, '{"reward": 1}', '{"step": 20, "reward": NaN, "kl": "high", "loss": "Infinity"}']) + "\n"
    )
    (run / "stages/after/data/results.json").write_text("{")
    (run / "lineage.json").write_text("")
    page = Page(write_report(run))
    for words in (
        "metrics.jsonl line 5 is not JSON",
        "line 8 is not an object",
        "without a step number",
        "after/data/results.json",
        "reward is NaN or infinite, first at step 20, 1 times",
        "loss is NaN or infinite, first at step 20",
    ):
        assert words in page.text
    reward = next(p for p in page.data["plots"].values() if "reward" in p["y"])
    assert reward["x"] == [s for s in range(1, 20) if s not in (5, 8)]


def test_failed_stage_shows_its_traceback(tmp_path):
    write_lines(tmp_path / "stages/zero/metrics.jsonl", [{"step": 1, "reward": 0.0}])
    (tmp_path / "stages/zero/error.txt").write_text("Traceback\n  ...\nRuntimeError: no <groups> vary\n")
    text = Page(write_report(tmp_path)).text
    assert "stage, failed" in text and "Stage zero failed: RuntimeError: no <groups> vary" in text
    assert "0 of 1 stages done" in text and "Traceback\n  ..." in text


def test_step_logged_twice_by_a_resume_counts_once(tmp_path):
    write_lines(
        tmp_path / "stages/zero/metrics.jsonl",
        [{"step": s, "reward": r} for s, r in ((1, 0.1), (2, 0.2), (2, 0.9), (3, 1.0))],
    )
    (stage,) = collect(tmp_path).stages
    assert [(m["step"], m["reward"]) for m in stage.metrics] == [(1, 0.1), (2, 0.9), (3, 1.0)]


def test_planned_run_names_what_is_missing(tmp_path):
    (tmp_path / "recipe.toml").write_text('name = "plan"\n[stage.zero]\nkind = "rl"\n', encoding="utf-8")
    text = Page(write_report(tmp_path)).text
    for words in (
        "0 of 1 stages",
        "Stage zero has not started",
        "No stage has logged",
        "No rollouts",
        "No answers",
        "No evaluate stage",
    ):
        assert words in text
    assert "No evaluate stage has finished" in render_text(tmp_path)


@pytest.mark.parametrize("read", [write_report, render_text])
def test_other_directories_are_rejected(tmp_path, read):
    with pytest.raises(ValueError, match=r"not a run directory.*recipe\.toml.*stages/"):
        read(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_long_rollouts_are_shortened_with_a_note(tmp_path):
    run = make_run(tmp_path / "run", steps=60, rollout_every=2, text="思考<" * 8_000)
    path = write_report(run)
    assert 1_500_000 < path.stat().st_size < 3_000_000
    page = Page(path)
    steps = page.data["rollouts"]["zero"]
    assert len(steps) == 12 and {"2", "60"} < set(steps)
    assert all(groups for groups in steps.values())
    shown = sum(len(g["completions"]) for groups in steps.values() for g in groups)
    assert f"{12 * 64 - shown:,} completions of the steps shown and 18 logged steps" in page.text
    text = steps["2"][0]["completions"][0]["completion"]
    assert "characters left out" in text and len(text) < TEXT_HEAD + TEXT_TAIL + 100 and text.endswith("</answer>")
    assert page.data["questions"]


def test_incomplete_groups_are_marked():
    rows = tuple({"prompt_id": p, "question": p, "sample": i, "completion": "x" * 500} for p in "abc" for i in range(4))
    stage = Stage("zero", "rl", "done", rollouts={1: rows, 2: rows})
    all_groups, missing = fit_rollouts([stage], 10**6)
    assert missing == 0 and [len(all_groups["zero"]["2"][i]["completions"]) for i in range(3)] == [4, 4, 4]
    for budget in range(0, 16_000, 700):
        chosen, missing = fit_rollouts([stage], budget)
        assert len(to_json(chosen).encode()) <= budget + 100
        groups = [g for step in chosen.get("zero", {}).values() for g in step]
        assert sum(len(g["completions"]) for g in groups) + missing == 24
        assert all(len(g["completions"]) == g["of"] == 4 for g in groups if g["question"] != "a")


def test_questions_are_chosen_by_id():
    def stage(name, ids):
        rows = [
            {"benchmark": "b", "prompt_id": i, "question": i, "answer": "1", "completion": name, "correct": True}
            for i in ids
        ]
        return Stage(name, "evaluate", "done", samples=tuple(rows))

    ids = [f"q{i}" for i in range(30)]
    first = shared_questions([stage("before", ids), stage("after", ids[:20])])
    again = shared_questions([stage("before", ids[::-1]), stage("after", ids[19::-1])])
    assert [q.prompt_id for q in first] == [q.prompt_id for q in again] != sorted(q.prompt_id for q in first)
    assert {q.prompt_id for q in first} == set(ids[:20])
    assert list(first[0].answers) == ["before", "after"]


def test_answers_in_memory_are_bounded_and_those_that_come_first_on_the_page(tmp_path, monkeypatch):
    """Of 40 problems with three answers each, a quarter fits; a benchmark with few answers stays complete."""
    rows = [
        {"benchmark": benchmark, "prompt_id": f"q{i}", "question": "?" * 10, "completion": "x" * 85 + str(i % 3)}
        for benchmark, problems in (("large", 40), ("small", 2))
        for i in range(problems)
        for _ in range(3)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    every, left_out = reading.read_samples(path, tmp_path, [])
    assert (len(every), left_out) == (84, 42)
    monkeypatch.setattr(reading, "SAMPLE_CHARACTERS", 2 * 10 * 104)
    some, left_out = reading.read_samples(path, tmp_path, [])
    assert 4 + 2 * 8 <= len(some) <= 4 + 2 * 11 and len(some) + left_out == len(rows)
    pages = [shared_questions([Stage("e", "evaluate", "done", samples=kept)]) for kept in (every, some)]
    assert pages[0][: len(pages[1])] == pages[1], "the same questions with the same answers"


def test_benchmarks_take_turns_on_the_page():
    rows = [{"benchmark": b, "prompt_id": f"{b}{i}"} for b, n in (("large", 50), ("small", 2)) for i in range(n)]
    chosen = shared_questions([Stage("e", "evaluate", "done", samples=tuple(rows))])
    first = [q.benchmark for q in chosen]
    assert sorted(first[:2]) == sorted(first[2:4]) == ["large", "small"] and set(first[4:]) == {"large"}


def test_long_curves_are_thinned_but_keep_peaks():
    rows = [
        {"step": s, "kl": 0.5, "sampling/logp_difference_max": 9.0 if s == 7000 else 1e-6} for s in range(1, 10_401)
    ]
    drawn, left_out = charts(rows, "zero")
    assert not left_out
    for chart in drawn:
        assert len(chart.hover["x"]) <= MAX_POINTS and chart.hover["x"][-1] == 10_400 and len(chart.svg) < 40_000
    peaks = next(c for c in drawn if c.metrics == ("sampling/logp_difference_max",))
    assert max(peaks.hover["y"]["sampling/logp_difference_max"]) == 9.0


@pytest.mark.parametrize("values", [[0.0], [0.0] * 40, [1e-7] * 3, [-3.0, 2.0], [1e9, 1e12]])
@pytest.mark.parametrize(
    "metric", ["sampling/logp_difference_mean", "time/rollout", "frac_reward_zero_std", "reward", "unknown metric"]
)
def test_plots_accept_extreme_values(metric, values):
    (chart,), _ = charts([{"step": i, metric: v} for i, v in enumerate(values)], "s")
    assert chart.hover["y"] == {metric: values} and "nan" not in chart.svg and "matplotlib" not in chart.svg


def test_numbers_are_short_and_large_ones_have_no_exponents():
    numbers = (0.25, 999.7, 3200, 9999.6, 15_000, 999_999, 12_300_000, -4.5e9, 0.0004, -1.25e-7)
    texts = ["0.25", "1,000", "3,200", "10,000", "15k", "1M", "12.3M", "-4.5B", "0.0004", "-1.25e-7"]
    assert [compact(value) for value in numbers] == texts


def tick_labels(values, metric="mine"):
    (chart,), _ = charts([{"step": i, metric: v} for i, v in enumerate(values)], "s")
    return re.findall(r"<text[^>]*text-anchor: end[^>]*>([^<]*)</text>", chart.svg), chart.note


@pytest.mark.parametrize(
    ("values", "labels", "note"),
    [
        ([0.05, 0.05 + 1e-9, 0.05], ["0", "0.05"], "Constant: 0.05."),
        ([-3200.0] * 5, ["0", "-3,200"], "Constant: -3,200."),
        ([1e-9, -2e-9, 0.0], ["0"], "Constant: -2e-9 to 1e-9."),
        ([0.0] * 5, ["0"], "Constant: 0."),
        ([2000, 5000], ["0", "2,000", "4,000"], ""),
        ([1000.0, 1002.0], ["1,000", "1,001", "1,002"], ""),
        ([200.0, 201.0], ["200", "200.5", "201"], ""),
    ],
)
def test_axis_of_values_tells_them_apart_and_ignores_noise(values, labels, note):
    assert tick_labels(values) == (labels, note)


def test_constant_share_is_in_per_cent():
    labels, note = tick_labels([1.0] * 5, "completions/clipped_ratio")
    assert labels == ["0%", "50%", "100%"] and note == "Constant: 100 %."


@pytest.mark.slow
def test_every_metric_is_drawn_or_named():
    rows = [{"step": 1, **{f"mine/{i}": 1.0 for i in range(20)}, "reward": 1.0}]
    drawn, left_out = charts(rows, "s")
    assert sorted([m for c in drawn for m in c.metrics] + left_out) == sorted(set(rows[0]) - {"step"})


def test_every_metric_has_an_explanation(finished):
    run = collect(finished)
    for stage in run.stages:
        for metric in {m for row in stage.metrics for m in row if m != "step"}:
            assert len(explain(metric, stage.kind)) > 20, metric
    for row in comparison_rows(run.evals):
        assert explain(row.metric), row.metric
    assert explain("unheard of") == "" and "loss" in EXPLANATIONS


def test_comparison_aligns_stages_with_different_metrics():
    def summary(value, **more):
        return {
            "pass@1": value,
            "ci95": [value - 0.1, value + 0.1],
            "by_level": {"10": {"pass@1": 0.5}, "9": {"pass@1": 1}},
            **more,
        }

    evals = {
        "before": {"model": "m", "benchmarks": {"a": summary(0.25, **{"cons@4": 0.5})}},
        "after": {
            "model": "m",
            "benchmarks": {"a": summary(0.75, **{"cons@16": 0.9, "mean_tokens": 12.34}), "b": {"pass@1": 0.1}},
        },
    }
    rows = {(r.benchmark, r.metric, r.group): [c.value for c in r.cells] for r in comparison_rows(evals)}
    assert rows["a", "pass@1", ""] == [0.25, 0.75]
    assert rows["a", "cons@4", ""] == [0.5, None] and rows["a", "cons@16", ""] == [None, 0.9]
    assert rows["b", "pass@1", ""] == [None, 0.1]
    assert [group for _, _, group in rows if group] == ["9", "10"]
    console = Console(width=100, file=io.StringIO())
    console.print(comparison_table(evals))
    text = console.file.getvalue()
    assert re.search(r"pass@1 +25\.0 % +15-35 +75\.0 % +65-85", text)
    assert re.search(r"mean tokens +- +12\.3", text) and text.index("level 9") < text.index("level 10")


def test_terminal_text_has_answers_and_no_control_characters(tmp_path):
    run = make_run(tmp_path / "run", steps=10, text="[red]\x1b[2J\x07\u202e\r ok")
    text = render_text(run)
    assert "before" in text and "level 5" in text and text.count("Question:") == 2 and text.count("after: ") == 2
    assert "[red]" in text and not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_time_is_divided_among_the_modules_of_the_paper(tmp_path):
    run = make_run(tmp_path / "run", steps=10)
    line = next(line for line in render_text(run).splitlines() if line.startswith("zero: "))
    shares = "rollout 55%, inference 0%, rule-based rewards 3%, training 3.%, evaluation 8%, checkpoints"
    assert re.search(rf"^zero: 3\.\d+ s a step: {shares}", line)
    assert "Time by module" in Page(write_report(run)).text


@pytest.mark.slow
def test_import_needs_no_torch_or_matplotlib():
    code = "import sys, r1kit.report.render; print(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_amendments_and_the_published_step_are_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=10)
    amendment = {"step": 4, "at": "2030-01-01T00:00:00Z", "sequences": 0, "identity": "ab" * 32}
    amendment |= {"changed": {"learning_rate": [1e-3, 2e-3], "<b>": [None, "x" * 90]}}
    path = run / "stages/zero/artifact.json"
    artifact = json.loads(path.read_text()) | {"amendments": [amendment, amendment]}
    artifact["config"]["best_metric"] = "eval/sums/pass@1"
    artifact["summary"] = {"steps": 10, "published_step": 6, "eval/sums/pass@1": 0.25}
    write_json(path, artifact)
    text = " ".join(render_text(run).split())
    assert "zero: amended after step 4: learning_rate from 0.001 to 0.002" in text
    assert "zero: published step 6 of 10, the best by eval/sums/pass@1: 0.25" in text
    page = " ".join(Page(write_report(run)).text.split())
    assert "Amended after step 4: learning_rate from 0.001 to 0.002; <b> from not set" in page
    assert "10 steps · amended after step 4 · from" in page and "published_step" in page
    path.unlink()  # the stage is under way
    write_json(run / "lineage.json", {"stages": {"zero": {"amendments": [amendment]}}})
    assert "amended after step 4" in render_text(run)
    dashed, plain = (charts([{"step": s, "reward": s} for s in range(1, 9)], "s", marks)[0][0] for marks in ([4], []))
    assert "stroke-dasharray" in dashed.svg and "stroke-dasharray" not in plain.svg
