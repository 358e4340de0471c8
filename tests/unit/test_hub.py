"""The Hugging Face hub: absent repositories and an unreachable hub are noticed at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from r1kit import hub

SHA = "a" * 40
pytestmark = pytest.mark.slow


class FakeHub(BaseHTTPRequestHandler):
    """A hub with the model org/mamba, the dataset org/rows and the gated model org/gated."""

    def do_GET(self) -> None:
        known = {"/api/models/org/mamba": ["config.json"], "/api/datasets/org/rows": ["README.md"]}
        files = next((files for path, files in known.items() if self.path.startswith(f"{path}/")), None)
        if "org/gated" in self.path:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif self.path.startswith(f"/org/mamba/resolve/{SHA}/config.json"):
            self._send(200, b'{"model_type": "mamba"}', {"ETag": '"e"', "X-Repo-Commit": SHA})
        elif self.path.startswith(f"/datasets/org/rows/resolve/{SHA}/README.md"):
            self._send(200, b"rows", {"ETag": '"e"', "X-Repo-Commit": SHA})
        elif files is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in self.path:
            entries = [{"type": "file", "path": name, "size": 23, "oid": "e"} for name in files]
            self._send(200, json.dumps(entries).encode(), {})
        else:
            body = {"id": "org/x", "sha": SHA, "siblings": [{"rfilename": name} for name in files]}
            self._send(200, json.dumps(body).encode(), {})

    do_HEAD = do_GET

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def fake_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def python(code: str, cache: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, as the hub's address is read at import. It must not sleep before retries."""
    code = f"import time\ndef sleep(seconds): raise RuntimeError('sleep')\ntime.sleep = sleep\n{code}"
    environment = {**os.environ, "HF_HOME": str(cache), **variables}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def reasons(cache: Path, **variables: str) -> dict[str, str]:
    code = (
        "import json\nfrom r1kit.hub import unavailable\n"
        "wanted = [('org/mamba', 'model'), ('org/rows', 'dataset'), ('org/none', 'model'), ('org/gated', 'model'),"
        " ('org/none', 'dataset')]\n"
        "print(json.dumps({f'{kind} {name}': why for (name, kind), why in unavailable(wanted).items()}))"
    )
    done = python(code, cache, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_absent_and_gated_repositories_are_named(fake_hub: str, tmp_path: Path) -> None:
    found = reasons(tmp_path, HF_ENDPOINT=fake_hub, HF_HUB_OFFLINE="0")
    assert set(found) == {"model org/none", "model org/gated", "dataset org/none"}
    assert "the hub has no model of this name" in found["model org/none"]
    assert "the hub has no dataset of this name" in found["dataset org/none"]
    assert "ask for access at https://huggingface.co/org/gated" in found["model org/gated"]


def test_unreachable_hub_is_noticed_at_once(tmp_path: Path) -> None:
    found = reasons(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert len(found) == 5 and all("the hub cannot be reached" in reason for reason in found.values())


def test_offline_variable_is_respected(fake_hub: str, tmp_path: Path) -> None:
    found = reasons(tmp_path, HF_ENDPOINT=fake_hub, HF_HUB_OFFLINE="1")
    assert len(found) == 5 and all("HF_HUB_OFFLINE is set" in reason for reason in found.values())


def test_dataset_is_refused_offline_without_retries(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    code = "from r1kit.data.problems import *\nload_problems([PromptSource(source='org/none')])"
    done = python(code, tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert "DataError: org/none: neither a local file nor a dataset that can be loaded from the hub" in done.stderr
    assert "Retrying" not in done.stderr and "sleep" not in done.stderr


def test_cached_datasets_are_found_under_their_name_in_snake_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from r1kit import hub

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / "org___deep_math-103_k" / "default").mkdir(parents=True)
    (tmp_path / "org___empty").mkdir()
    assert hub.is_cached_dataset("org/DeepMath-103K")
    assert not hub.is_cached_dataset("org/empty") and not hub.is_cached_dataset("org/other")


def test_incomplete_model_in_the_cache_is_unavailable_offline(tmp_path: Path) -> None:
    """A check while the hub could be reached has downloaded config.json."""
    repository = tmp_path / "hub/models--org--mamba"
    for path, text in ((f"snapshots/{SHA}/config.json", "{}"), ("refs/main", SHA)):
        (repository / path).parent.mkdir(parents=True)
        (repository / path).write_text(text)
    found = reasons(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert "the hub cannot be reached" in found["model org/mamba"]


def test_cached_dataset_is_read_offline_without_retries(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    build = f"from datasets import load_dataset\nload_dataset({str(rows)!r})"
    assert python(build, tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    [info] = (tmp_path / "datasets").rglob("dataset_info.json")
    kept = tmp_path / "datasets/org___rows/default/0.0.0" / SHA
    kept.parent.mkdir(parents=True)
    info.parent.rename(kept)
    code = "from r1kit.data.problems import *\nprint(load_problems([PromptSource(source='org/rows')])[0].question)"
    done = python(code, tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert done.stdout == "1 + 1?\n", done.stderr
    assert "Retrying" not in done.stderr and "sleep" not in done.stderr


def test_repositories_are_asked_about_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3, timeout=10)
    monkeypatch.setattr(hub, "_unreachable", lambda: "")

    def ask(name: str, kind: str) -> str:
        together.wait()
        return "absent" if name == "org/b" else ""

    monkeypatch.setattr(hub, "_ask", ask)
    repositories = [("org/a", "model"), ("org/b", "model"), ("org/b", "dataset")]
    assert hub.unavailable(repositories) == {("org/b", "model"): "absent", ("org/b", "dataset"): "absent"}
