"""`r1kit claims`: claims as files, their runs with shared stages, verdicts, the page and the bundled claims."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_factory import write_json, write_lines
from typer.testing import CliRunner, Result

from r1kit.bundled import bundled_claims
from r1kit.claim.measure import WIN_RATE, Verdict, judge
from r1kit.claim.page import page
from r1kit.claim.plan import estimate
from r1kit.claim.records import hash_of_measures, hash_of_runs
from r1kit.claim.runs import ClaimRun, Shared, claim_run, find_shared
from r1kit.claim.spec import EXAMPLE, load_claim
from r1kit.cli import app
from r1kit.errors import UserError
from r1kit.run_dir import RunDir

RECIPE = """
name = "tiny"
dtype = "float32"

[defaults.evaluate]
benchmarks.reasoning = [{ source = "world:arithmetic", split = "held_out", limit = 6 }]
samples = 2
max_completion_length = 24

[defaults.rl]
model = "sprout-base"
prompts = [{ source = "world:arithmetic", max_level = 1, limit = 16 }]
steps = 2
prompts_per_step = 2
num_generations = 2
steps_per_rollout = 1
max_completion_length = 24
learning_rate = 1e-6

[stage.base_eval]
kind = "evaluate"
model = "sprout-base"

[stage.zero]
kind = "rl"

[stage.zero_eval]
kind = "evaluate"
model = "zero"

[stage.unused]
kind = "rl"
"""
LENGTH = """
claim = "Two steps change little."
paper = "nowhere"
explained = "Two steps are few."

[runs.main]
extends = "tiny.toml"

[[measure]]
what = "tokens: R1-Zero as many as the base"
metric = "reasoning/mean_tokens"
low = "main/base_eval"
high = "main/zero_eval"
above = -20.0
below = 20.0

[[measure]]
what = "accuracy: R1-Zero far above the base"
metric = "reasoning/pass@1"
low = "main/base_eval"
high = "main/zero_eval"
above = 0.99
"""
GROUPS = """
claim = "Larger groups sample more."
paper = "nowhere"
explained = "Only said when it does not come out."

[runs.two]
extends = "tiny.toml"

[runs.four]
extends = "tiny.toml"
stage.zero.num_generations = 4

[[measure]]
what = "completions are about as long"
metric = "completions/mean_length"
low = "two/zero"
high = "four/zero"
above = -1000.0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a recipe and two claims."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("tiny", RECIPE), ("length", LENGTH), ("groups", GROUPS)):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def claims(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["claims", *arguments], catch_exceptions=False)


def artifacts(runs: Path) -> dict[str, int]:
    """Every finished stage with the time of its last change."""
    return {str(path.relative_to(runs)): path.stat().st_mtime_ns for path in runs.glob("*/stages/*/artifact.json")}


@pytest.mark.slow
def test_claims_run_share_stages_and_continue(folder: Path) -> None:
    given = ("length.toml", "groups.toml", "--seeds", "0,1", "--runs", "runs", "--json")
    planned = json.loads(claims(*given, "--dry-run").stdout)["runs"]
    assert [(each["claim"], each["seed"], each["to_do"]) for each in planned] == [
        *(("length", seed, ["base_eval", "zero", "zero_eval"]) for seed in (0, 1)),
        *(("groups", seed, ["zero"]) for seed in (0, 1)),
    ]
    result = claims(*given, "--page", "page.md")
    first, second = json.loads(result.stdout.splitlines()[-1])["claims"]
    assert (first["state"], second["state"]) == ("refuted", "confirmed")
    same, far = first["findings"]
    assert same["state"] == "confirmed" and same["problems"] == 6 and len(same["by_seed"]) == 2
    assert far["state"] == "refuted" and far["ci95"][1] < 0.99
    runs = sorted(path.name.rpartition("-")[0] for path in (folder / "runs").iterdir())
    assert runs == [f"{name}-seed-{seed}" for name in ("groups.four", "groups.two", "length.main") for seed in (0, 1)]
    shared = {path.stat().st_ino for path in folder.glob("runs/*.t*/stages/zero/artifact.json")}
    assert len(shared) == 2, "one of each seed"
    assert "unused" not in "".join(artifacts(folder / "runs"))
    text = (folder / "page.md").read_text()
    assert "1 of the 2 claims that have run are confirmed" in text and "## What did not come out" in text
    assert "(refuted). Two steps are few.\n" in text and "Only said" not in text
    assert "| accuracy: R1-Zero far above the base |" in text and "| **refuted** |" in text

    before = artifacts(folder / "runs")
    assert json.loads(claims(*given, "--dry-run").stdout)["runs"] == []
    assert json.loads(claims(*given).stdout.splitlines()[-1])["claims"] == [first, second]
    assert artifacts(folder / "runs") == before, "nothing ran again"

    records_outlive_runs(folder, given, [first, second], text)
    other_machines_are_named(folder, given)
    (folder / "length.toml").write_text(LENGTH.replace('"tiny.toml"\n', '"tiny.toml"\nstage.zero.steps = 1\n'))
    reused = claims(
        "length.toml", "--seeds", "0", "--runs", "other", "--reuse", str(next(folder.glob("runs/length*0-*")))
    )
    assert "refuted" in reused.stdout
    assert [name for name in artifacts(folder / "other") if "zero_eval" in name], "an edited claim runs anew"


def records_outlive_runs(folder: Path, given: tuple[str, ...], results: list[dict[str, Any]], text: str) -> None:
    """Check what commands say of two claims that have run elsewhere: of their records alone."""
    elsewhere = (*given[:2], "--seeds", "0,1", "--runs", "nothing", "--json")

    def state_of(*arguments: str) -> tuple[str, bool, list[int]]:
        shown = json.loads(claims(*elsewhere, *arguments).stdout.splitlines()[-1])["claims"][0]
        return shown["state"], shown["current"], shown["seeds"]

    planned = claims(*elsewhere, "--dry-run")
    assert json.loads(planned.stdout)["runs"] == []
    assert "recorded in docs/results/claims, and run again only with --again: length, groups" in planned.stderr
    again = json.loads(claims(*elsewhere, "--dry-run", "--again").stdout)["runs"]
    assert [each["claim"] for each in again] == ["length", "length", "groups", "groups"]
    assert json.loads(claims(*elsewhere, "--page", "same.md").stdout.splitlines()[-1])["claims"] == results
    assert (folder / "same.md").read_text() == text and not (folder / "nothing").exists()
    third = json.loads(claims(*given[:2], "--seeds", "2", "--runs", "nothing", "--json", "--dry-run").stdout)["runs"]
    assert {each["seed"] for each in third} == {2}, "the record has no seed 2"

    record = folder / "docs/results/claims/length.json"
    written = record.read_bytes()
    claims("length.toml", "--seeds", "0", "--runs", str(given[5]), "--again")
    assert record.read_bytes() == written, "a part of the seeds replaces nothing"
    (folder / "length.toml").write_text(LENGTH.replace("above = 0.99", "above = -0.99"))
    assert state_of() == ("confirmed", True, [0, 1]), "judged by today's band"
    (folder / "length.toml").write_text(LENGTH.replace('metric = "reasoning/pass@1"', 'metric = "reasoning/readable"'))
    changed = json.loads(claims(*elsewhere, "--dry-run").stdout)["runs"]
    assert [each["claim"] for each in changed] == ["length", "length"], "another measure needs another run"
    (folder / "length.toml").write_text(LENGTH)
    shutil.copy(record, folder / "kept.json")
    (folder / "tiny.toml").write_text(RECIPE.replace("learning_rate = 1e-6", "learning_rate = 2e-6"))
    runs = json.loads(claims(*elsewhere, "--dry-run").stdout)["runs"]
    assert {each["claim"] for each in runs} == {"length", "groups"}, "another recipe needs other runs"
    (folder / "tiny.toml").write_text(RECIPE)
    record.write_text("{}")
    with pytest.raises(
        UserError, match=r"length\.json: not a record of `r1kit claims` \(findings: .*; restore it, or remove it"
    ):
        claims(*elsewhere, "--dry-run")
    record.write_text("{")
    with pytest.raises(UserError, match=r"length\.json: not a record .*JSON.*; restore it, or remove it"):
        claims(*elsewhere, "--dry-run")
    shutil.copy(folder / "kept.json", record)


def other_machines_are_named(folder: Path, given: tuple[str, ...]) -> None:
    lineage = next((folder / "runs").glob("length*")) / "lineage.json"
    before = lineage.read_text()
    write_json(lineage, {**json.loads(before), "changes": [{"at": "", "changed": {"cpu": ["abacus", "this one"]}}]})
    [shown] = json.loads(claims(given[0], *given[2:], "--page", "other.md").stdout.splitlines()[-1])["claims"]
    assert shown["made"]["machine"].startswith("abacus and ") or shown["made"]["machine"].endswith(" and abacus")
    assert "abacus" in (folder / "other.md").read_text()
    lineage.write_text(before)


def forge(name: str, root: Path, **changes: Any) -> None:
    """Write a record as if a bundled claim had run with seed 0."""
    claim = load_claim(name)
    runs = {0: {run: claim_run(claim, run, 0, root) for run in claim.runs}}
    made = {"runs": {"0": hash_of_runs(claim, runs, 0, root)}, "measures": hash_of_measures(claim), "seconds": 60.0}
    made |= {"machine": "abacus, 1 threads", "date": "2026-11-29", "source": [], **changes}
    finding = {
        "what": "w",
        "metric": "reasoning/pass@1",
        "low": 0.5,
        "high": 0.75,
        "ci95": [0.2, 0.3],
        "state": "confirmed",
    }
    write_json(root / f"{name}.json", {"findings": [finding], "made": made})


def test_the_page_of_a_portion_keeps_the_other_claims(folder: Path) -> None:
    for name in ("cold-start-cost", "rl-recovers"):
        forge(name, folder / "results")
    forge("few-shot", folder / "results", runs={"0": "another"})
    given = ("--runs", "none", "--results", "results", "--seeds", "0", "--page", "page.md")
    portion = claims("rl-recovers", *given)
    assert portion.stdout.startswith("confirmed  rl-recovers:") and len(portion.stdout.splitlines()) == 2
    text = (folder / "page.md").read_text()
    rest = len(bundled_claims()) - 3
    assert "2 of the 2 claims that have run are confirmed, 0 are open, 0 refuted." in text
    assert f"Not run: {rest}. Of an earlier recipe, not counted: 1." in text
    assert text.count("| not run |\n| [") > 20 and "| confirmed of an earlier recipe |" in text
    assert "Seed 0; 1 minutes in all; abacus, 1 threads; 2026-11-29. Result of an earlier recipe." in text
    assert claims(*given[:-2]).stdout.count("outdated   few-shot:") == 1
    claims(*given)
    assert (folder / "page.md").read_text() == text, "no matter which claims are named"
    assert json.loads((folder / "results/few-shot.json").read_text())["made"]["runs"] == {"0": "another"}


def test_a_record_without_all_findings_is_of_an_earlier_claim(folder: Path) -> None:
    forge("more-votes", folder / "results")
    listed = claims("--runs", "none", "--results", "results", "--seeds", "0").stdout
    assert len(load_claim("more-votes").measure) == 2 and "outdated   more-votes:" in listed


def test_a_list_says_what_has_not_run(folder: Path) -> None:
    assert claims("--runs", "none", "--seeds", "0").stdout.count("not run") == len(bundled_claims())


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_other_claims(folder: Path) -> None:
    broken = LENGTH.replace('"tiny.toml"\n', '"tiny.toml"\nstage.zero.prompts = ["missing.jsonl"]\n')
    (folder / "broken.toml").write_text(broken)
    with pytest.raises(
        UserError, match=r"claim 1/2 broken, seed 0, main: .*missing\.jsonl(?s:.*)tries these runs again"
    ):
        claims("broken.toml", "groups.toml", "--seeds", "0", "--runs", "runs")
    states = json.loads(claims("--runs", "runs", "--seeds", "0", "--json", "groups.toml").stdout.splitlines()[-1])
    assert states["claims"][0]["seeds"] == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("length.toml", "--all"), "--all runs every claim"),
        (("length.toml", "--seeds", "0,x"), "--seeds 0,x: must be whole numbers"),
        (("lenght",), "neither a claim nor a file"),
        (("length-grow",), "did you mean length-grows?"),
        (("length.toml", "--reuse", "."), "--reuse .: not the directory of a run"),
        (("tiny.toml",), "claim: missing, and there is no default"),
        (("runs",), "runs: a directory; give the claim's .toml file"),
        (("length.toml", "--page", "runs"), "--page runs: a directory; name a file in it"),
        (("more-votes.toml",), "more-votes.toml: its record would replace that of .*claims/more-votes.toml: rename"),
        (("length.toml", "copy/length.toml"), "copy/length.toml: its record would replace that of .*/length.toml"),
    ],
)
def test_wrong_arguments_are_explained(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    for path in ("runs", "copy"):
        (folder / path).mkdir()
    for path in ("more-votes.toml", "copy/length.toml"):
        (folder / path).write_text(LENGTH)
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        claims(*arguments)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("main/zero_eval", "other/zero_eval", "must be RUN/STAGE with a run of this file: main"),
        ("main/zero_eval", "main/zeroeval", "length.toml: main/zeroeval: that recipe has no such stage"),
        ('what = "tokens', 'why = "tokens', "measure.0.what: missing"),
        ("reasoning/mean_tokens", "reasoning/pas@1", r"reasoning/pas@1: main/base_eval has no metric 'pas@1'"),
        ("reasoning/mean_tokens", "thinking/pass@1", "thinking/pass@1: main/base_eval has the benchmarks reasoning"),
        ('"main/base_eval"', '"main/zero"', "main/zero has no metric 'reasoning/mean_tokens'"),
        ("reasoning/mean_tokens", "reasoning/pass@3", r"main/base_eval has samples = 2, so no pass@3"),
        ('low = "main/base_eval"\nhigh = "main/zero_eval"', "low = 0.1\nhigh = 0.2", "low and high are numbers"),
        ('"main/base_eval"', '{ at = "main/base_eval", where = { lvl = "1" } }', "where.lvl"),
        ('"main/base_eval"', '{ at = "main/base_eval", steps = [0.0, 0.1] }', "steps belongs to a stage that trains"),
        (
            '"main/base_eval"',
            '{ at = "main/zero", metric = "reward", where = { level = "1" } }',
            "where and against belong to an evaluate stage",
        ),
        (
            '"main/base_eval"',
            '{ at = "main/zero", metric = "reward", steps = [0.0, 0.1] }',
            r"steps = \[0, 0.1\] holds no step of 2: widen it",
        ),
        ('extends = "tiny.toml"', 'extends = "none.toml"', "length.toml: runs.main: .*none.toml"),
        ('claim = "', "claim = ", "not valid TOML"),
        ("[runs.main]", "[runs.main]\nsteps = 3", "length.toml: steps"),
        ("above = -20.0", "above = 30.0", "above = 30, below = 20: above must be the smaller one"),
        (
            'low = "main/base_eval"',
            'low = { at = "main/zero", steps = [0.9, 0.2] }',
            r"steps = \[0.9, 0.2\]: must be two rising shares between 0 and 1",
        ),
    ],
)
def test_wrong_claims_are_explained(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "length.toml").write_text(LENGTH.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        claims("length.toml", "--dry-run", "--seeds", "0")


def judged(folder: Path, text: str, logs: dict[str, Any]) -> Verdict:
    """Judge a claim by files of one seed: rows of `problems` and `samples`, or of a training log."""
    (folder / "claim.toml").write_text(text)
    claim = load_claim("claim.toml")
    run = ClaimRun(claim_run(claim, "main", 0, folder).recipe, (), RunDir(folder / "run"))
    for name, files in logs.items():
        stage = run.dir.stage(name)
        write_json(stage.artifact, {"seconds": files.get("seconds", 1.0)})
        if "problems" in files:
            write_json(stage.results, {})
            write_lines(stage.problems, files["problems"])
            write_lines(stage.samples, files.get("samples", []))
        write_lines(stage.metrics, files.get("log", []))
    return judge(claim, {0: {"main": run}})


def problems(*values: float, level: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "benchmark": "reasoning",
            "prompt_id": f"{level}-{i}",
            "level": level,
            "values": {"pass@1": x, "cons@2": x + 0.1},
        }
        for i, x in enumerate(values)
    ]


def measure(text: str) -> str:
    head = 'claim = "c"\npaper = "p"\n[runs.main]\nextends = "tiny.toml"\n'
    return f'{head}[[measure]]\nwhat = "w"\nmetric = "reasoning/pass@1"\n{text}'


def test_levels_are_compared_without_pairing(folder: Path) -> None:
    where = "\n".join(
        f'{side} = {{ at = "main/zero_eval", where = {{ level = "{level}" }} }}'
        for side, level in (("low", 2), ("high", 1))
    )
    rows = problems(0.8, 0.9, 0.7, 0.8) + problems(0.1, 0.2, 0.1, 0.0, level=2)
    [finding] = judged(folder, measure(where), {"zero_eval": {"problems": rows}}).findings
    assert finding.state == "confirmed" and finding.high - finding.low == pytest.approx(0.7)


def test_two_metrics_of_one_stage_are_paired(folder: Path) -> None:
    text = 'low = "main/zero_eval"\nhigh = { at = "main/zero_eval", metric = "reasoning/cons@2" }'
    [finding] = judged(folder, measure(text), {"zero_eval": {"problems": problems(0.1, 0.5, 0.9)}}).findings
    assert finding.ci95 == (pytest.approx(0.1), pytest.approx(0.1)) and finding.problems == 3


def test_both_sides_are_of_the_problems_that_are_paired(folder: Path) -> None:
    text = measure('low = "main/base_eval"\nhigh = "main/zero_eval"')
    logs = {"base_eval": {"problems": problems(0.1, 0.2, 0.9)}, "zero_eval": {"problems": problems(0.4, 0.5)}}
    [finding] = judged(folder, text, logs).findings
    assert (finding.low, finding.high, finding.problems) == (pytest.approx(0.15), pytest.approx(0.45), 2)
    assert finding.by_seed == (pytest.approx(0.3),), "the difference of the two numbers that are shown"


def test_short_runs_say_nothing_about_the_time_of_long_ones(folder: Path) -> None:
    stage = claim_run(load_claim("length.toml"), "main", 0, folder).stages[1]
    assert (stage.name, stage.config.steps) == ("zero", 2)
    long = replace(stage, config=stage.config.model_copy(update={"steps": 70}))
    artifacts = {
        ("zero", str(n)): {"kind": "rl", "seconds": s, "config": {"steps": n}} for n, s in ((2, 200), (50, 100))
    }
    assert estimate(long, Shared(artifacts=artifacts)) == pytest.approx(140)
    assert estimate(stage, Shared(artifacts=artifacts)) == pytest.approx(2 * (100 + 2) / 2)


def test_logs_are_averaged_over_parts_of_the_steps(folder: Path) -> None:
    log = [{"step": step, "completions/mean_length": float(step)} for step in range(1, 11)]
    text = """low = { at = "main/zero", metric = "completions/mean_length", steps = [0.0, 0.2] }
high = { at = "main/zero", metric = "completions/mean_length", steps = [0.9, 1.0] }"""
    ten_steps = measure(text).replace("[[measure]]", "stage.zero.steps = 10\n[[measure]]")
    [finding] = judged(folder, ten_steps, {"zero": {"log": log}}).findings
    assert (finding.low, finding.high) == (1.5, 9.5)
    assert finding.state == "open" and finding.ci95 is None, "one seed says nothing about others"


def test_replies_are_compared_by_the_oracle(folder: Path) -> None:
    def rows(reply: str) -> list[dict[str, Any]]:
        return [
            {
                "benchmark": "reasoning",
                "prompt_id": f"p{i}",
                "question": "Capital?",
                "answer": "Paris",
                "completion": reply,
            }
            for i in range(5)
        ]

    text = """low = 0.5
high = { at = "main/zero_eval", metric = "reasoning/win_rate", against = "main/base_eval" }"""
    logs = {
        "zero_eval": {"problems": [], "samples": rows("<think> a </think> <answer> Paris </answer>")},
        "base_eval": {"problems": [], "samples": rows("no idea")},
    }
    [finding] = judged(folder, measure(text), logs).findings
    assert (finding.high, finding.state) == (1.0, "confirmed")


def test_a_metric_that_does_not_exist_is_an_error(folder: Path) -> None:
    text = measure('low = 0.5\nhigh = { at = "main/zero_eval", where = { level = "9" } }')
    with pytest.raises(UserError, match=r"main/zero_eval: .* has no reasoning/pass@1 where .*9.*: correct the metric"):
        judged(folder, text, {"zero_eval": {"problems": problems(0.1)}})


@pytest.mark.parametrize(
    ("above", "below", "state"),
    [
        (0.0, None, "confirmed"),
        (0.3, None, "open"),
        (0.9, None, "refuted"),
        (-0.1, 0.1, "refuted"),
        (0.0, 0.9, "confirmed"),
    ],
)
def test_the_band_decides(folder: Path, above: float, below: float | None, state: str) -> None:
    text = f'low = 0.0\nhigh = "main/zero_eval"\nabove = {above}\n' + (f"below = {below}" if below is not None else "")
    rows = problems(0.2, 0.3, 0.4, 0.3, 0.2, 0.4)
    verdict = judged(folder, measure(text), {"zero_eval": {"problems": rows}})
    assert (verdict.findings[0].state, verdict.state) == (state, state)
    assert f"above {f'{100 * above:+.1f}' if above else '0'}" in page([verdict])


def test_the_example_of_the_page_is_a_claim(folder: Path) -> None:
    (folder / "example.toml").write_text(EXAMPLE)
    planned = json.loads(claims("example.toml", "--seeds", "0", "--dry-run", "--json").stdout)["runs"]
    assert [(each["name"], each["to_do"]) for each in planned] == [
        ("short", ["zero", "zero_eval"]),
        ("long", ["zero", "zero_eval"]),
    ]


@pytest.mark.parametrize("name", bundled_claims())
def test_bands_of_equal_accuracy_are_wide_enough_for_three_seeds(name: str) -> None:
    """docs/evaluation.md says how often three seeds find a difference within a smaller margin."""
    for measure in load_claim(name).measure:
        above, below = measure.band
        if measure.metric == "reasoning/pass@1" and above < 0:
            assert above <= -0.05 and (below is None or below >= 0.05), measure.what


def test_all_claims_run_in_the_order_of_what_is_left(folder: Path) -> None:
    planned = json.loads(claims("--dry-run", "--seeds", "0", "--runs", "none", "--json").stdout)["runs"]
    order = list(dict.fromkeys(each["claim"] for each in planned))
    seconds = [sum(each["seconds"] for each in planned if each["claim"] == name) for name in order]
    assert order[0] == "reflection" and seconds[0] < seconds[order.index("group-size")], "one training against three"
    assert order.index("cold-start-speed") < order.index("few-shot") < order.index("distillation")
    left = [each["to_do"] for each in planned if each["claim"] == "rl-recovers"]
    assert left == [["dev2_eval"]], "what claims before it have run is not run again"


def test_bundled_claims_name_stages_and_metrics_that_exist(tmp_path: Path) -> None:
    """Every recipe loads, and every measure reads what its stages write."""
    assert len(bundled_claims()) >= 20
    names = ("pass@1", "pass@8", "format_rate", "readable", "language", "mean_tokens", "truncated", WIN_RATE)
    logged = ("completions/", "rewards/", "clip_ratio", "time/", "seconds")
    for name in bundled_claims():
        claim = load_claim(name)
        runs = {run: claim_run(claim, run, 0, tmp_path) for run in claim.runs}
        for side in (side for each in claim.measure for side in each.sides if side.at):
            stage = runs[side.at.partition("/")[0]].recipe.stage[side.at.partition("/")[2]]
            benchmark, _, metric = side.metric.partition("/")
            if stage.kind != "evaluate":
                assert side.metric.startswith(logged), f"{name}: {side.metric}"
                continue
            assert benchmark in stage.benchmarks, f"{name}: {side.metric}"
            assert metric in names or metric in {f"cons@{k}" for k in (1, 2, 4, 8)}, f"{name}: {side.metric}"
    assert find_shared(tmp_path, ()).places == {}
