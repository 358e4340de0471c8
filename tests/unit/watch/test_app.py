"""The JSON of the live report, its page, and what it refuses."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from run_factory import HOSTILE, make_run
from typer.testing import CliRunner

from r1kit import cli
from r1kit.commands.runs import watch
from r1kit.report.plots import MAX_POINTS
from r1kit.watch.app import make_app
from r1kit.watch.live import LiveRun
from r1kit.web import server
from r1kit.web.guard import App


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "zero", steps=30, text=HOSTILE)


@pytest.fixture(scope="module")
def client(run: Path) -> TestClient:
    return TestClient(make_app([LiveRun(run), LiveRun(run)]))


def test_page_and_its_modules_are_served(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|https?:", page.text)
    paths = re.findall(r'(?:src|href)="((?:page|report)/[^"]+)"', page.text)
    assert len(paths) == 3
    while paths:
        source = client.get(f"/{paths[0]}")
        assert source.status_code == 200, paths[0]
        found = re.findall(r'^import .* from "\./([^"]+)"', source.text, flags=re.MULTILINE)
        paths = paths[1:] + [f"{paths[0].rpartition('/')[0]}/{name}" for name in found]


def test_progress(client: TestClient, run: Path) -> None:
    first, second = client.get("/api/runs").json()
    assert first == second and first["name"] == "sprout-zero" and first["state"] == "done"
    assert [stage["name"] for stage in first["stages"]] == ["base", "before", "zero", "after"]
    assert first["stages"][2]["step"] == 30 and first["stages"][2]["newest"] == 30


def test_curves_are_those_of_the_log(client: TestClient, run: Path) -> None:
    rows = [json.loads(line) for line in (run / "stages/zero/metrics.jsonl").open()]
    data = client.get("/api/runs/0/stages/zero/curves").json()
    panels = {panel["title"]: panel for panel in data["panels"]}
    reward = panels["Reward"]["curves"]["reward"]
    assert reward["x"] == [row["step"] for row in rows]
    assert reward["y"] == pytest.approx([row["reward"] for row in rows], rel=1e-5)
    assert panels["Held-out accuracy"]["style"] == "share" and panels["Held-out accuracy"]["legends"][0]["text"]
    assert [time["name"] for time in data["times"]][:2] == ["rollout", "inference"]
    pretraining = client.get("/api/runs/0/stages/base/curves").json()["panels"]
    assert all(len(curve["x"]) <= MAX_POINTS for panel in pretraining for curve in panel["curves"].values())


def test_model_output_is_sent_as_json_only(client: TestClient) -> None:
    for path in ("changing", "lasting"):
        html = "".join(client.get(f"/api/runs/0/{path}").json()["html"].values())
        assert "<script" not in html and "<img" not in html
    questions = client.get("/api/runs/0/answers")
    assert (
        questions.headers["content-type"] == "application/json"
        and HOSTILE.strip()[:9] in questions.json()[0]["answers"]["before"][0]["completion"]
    )


def test_rollouts_of_a_step(client: TestClient) -> None:
    data = client.get("/api/runs/0/stages/zero/rollouts").json()
    assert data["step"] == 30 and data["previous"] == 20 and data["next"] is None and data["counts"][""] == 64
    older = client.get("/api/runs/0/stages/zero/rollouts?step=15&answer=wrong").json()
    assert older["step"] == 10 and older["next"] == 20 and older["previous"] == 10
    assert all(any(row["correct"] is False for row in group["completions"]) for group in older["groups"])
    problem = data["groups"][0]["prompt_id"]
    group = client.get(f"/api/runs/0/stages/zero/group?step=30&problem={problem}").json()
    assert len(group["completions"]) == 8 and group["prompt"].startswith("User:")
    history = client.get(f"/api/runs/0/stages/zero/problem?problem={problem}").json()
    assert [each["step"] for each in history["groups"]] == [30] and history["before"] is None


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("runs/2/changing", 404, "there are 2 runs"),
        ("runs/-1/changing", 404, "there are 2 runs"),
        ("runs/0/stages/nowhere/curves", 404, "no such stage"),
        ("runs/0/stages/..%2f..%2fzero/curves", 404, None),
        ("runs/0/stages/base/rollouts", 404, "no step of this stage has completions"),
        ("runs/0/stages/zero/rollouts?answer=good", 400, "must be one of"),
        ("runs/0/stages/zero/group?step=30&problem=nobody", 404, "no completions of problem"),
        ("runs/0/stages/zero/rollouts?step=x", 422, None),
        (f"runs/0/stages/zero/rollouts?search={'x' * 201}", 422, None),
    ],
)
def test_what_does_not_exist_is_refused(client: TestClient, path: str, status: int, message: str | None) -> None:
    response = client.get(f"/api/{path}")
    assert response.status_code == status
    assert message is None or message in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["page/../app.py", "page/%2e%2e/app.py", "report/../collect.py", "docs", "openapi.json"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/{path}").status_code == 404


def test_command_waits_for_a_run_that_is_being_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apps: list[App] = []
    monkeypatch.setattr(server, "run", lambda app, *_: apps.append(app))
    made = make_run(tmp_path / "made", steps=2)
    starts = threading.Timer(0.3, made.rename, [tmp_path / "late"])
    starts.start()
    watched = CliRunner().invoke(cli.app, ["watch", str(tmp_path / "late")])
    starts.join()
    assert watched.exit_code == 0 and "waiting up to 20 seconds for a run" in watched.stderr
    assert TestClient(apps[0]).get("/api/runs").json()[0]["name"] == "sprout-zero"


def test_command_refuses_a_directory_without_a_run_and_foreign_addresses(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "START_SECONDS", 0.0)
    nowhere = CliRunner().invoke(cli.app, ["watch", str(tmp_path / "nowhere")])
    assert "no such directory" in str(nowhere.exception)
    open_to_all = CliRunner().invoke(cli.app, ["watch", str(run), "--host", "0.0.0.0"])
    assert "other machines could connect without a key" in str(open_to_all.exception)


def test_run_that_cannot_be_read_at_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1kit.watch.live.FRESH", 0.0)
    path = make_run(tmp_path / "run", steps=10)
    client = TestClient(make_app([LiveRun(path)]))
    assert client.get("/api/runs").status_code == 200
    for moved in ("stages", "recipe.toml"):
        (path / moved).rename(tmp_path / moved)
    answer = client.get("/api/runs")
    assert answer.status_code == 503 and "is not a run directory" in answer.json()["error"]["message"]
    for moved in ("stages", "recipe.toml"):
        (tmp_path / moved).rename(path / moved)
    assert client.get("/api/runs").json()[0]["state"] == "done"
