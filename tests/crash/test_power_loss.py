"""Order of writes, syncs and renames: no checkpoint may get its name before its content is on disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

pytestmark = pytest.mark.slow
SAVE = """
import sys
from pathlib import Path
from tiny_learner import tiny_learner, train
from r1kit.learn.checkpoint import Checkpoints
from r1kit.metrics.log import MetricsLog
root, learner = Path(sys.argv[1]), tiny_learner()
log = MetricsLog(root / "metrics.jsonl")
with Checkpoints(root / "checkpoints", log.files) as store:
    for step in (1, 2, 3):
        train(learner, range(step - 1, step))
        log.append({"step": step, "time/step": 0.1})
        store.save(learner, {"step": step})
        store.wait()
"""
CALL = re.compile(
    r'^\d+ +(?P<call>\w+)\((?:AT_FDCWD(?:<[^>]*>)?, )?(?:\d+<(?P<open>[^>]*)>|"(?P<path>[^"]*)")?(?P<rest>.*)'
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, Path, str]]]:
    """(root, [(system call, file, rest of the line)]) of three saves."""
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode:
        pytest.skip("needs strace, to see the order of system calls")
    root, trace = tmp_path_factory.mktemp("saves"), tmp_path_factory.mktemp("trace") / "calls"
    watched = "trace=write,pwrite64,fsync,rename,renameat,renameat2,unlink,unlinkat,rmdir"
    paths = os.pathsep.join([str(ROOT / "tests/support"), *sys.path])
    command = ["strace", "-f", "-y", "-e", watched, "-o", str(trace)]
    command += [sys.executable, "-W", "ignore", "-c", SAVE, str(root)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, timeout=500)
    matches = [match for line in trace.read_text().splitlines() if str(root) in line and (match := CALL.match(line))]
    return root, [(m["call"], Path(m["open"] or m["path"]), m["rest"]) for m in matches]


def test_checkpoint_and_logs_are_synced_before_the_rename(calls) -> None:
    root, done = calls
    published = []
    for at, (call, path, rest) in enumerate(done):
        if not call.startswith("rename") or not re.search(r'/step_\d{8}"', rest):
            continue
        published.append(at)
        before = done[:at]
        written = {p for c, p, _ in before if "write" in c and (path in p.parents or p.parent == root)}
        assert {p.name for p in written if p.parent == root} == {"metrics.jsonl", "timings.jsonl"}
        assert len(written) >= 4
        for file in written:
            last = max(i for i, (c, p, _) in enumerate(before) if p == file and "write" in c)
            named = renamed(file, before)
            assert any(c == "fsync" and p in (file, named) for c, p, _ in before[last:]), f"{file} is not synced"
        assert ("fsync", path) in [(c, p) for c, p, _ in before], "the directory is not synced"
        after = [(c, p) for c, p, _ in done[at + 1 :]]
        assert after[0] == ("fsync", root / "checkpoints"), "the rename is not synced"
    assert len(published) == 3
    assert ("fsync", root) in [(call, path) for call, path, _ in done], "the folder of checkpoints is not synced"


def renamed(file: Path, calls: list[tuple[str, Path, str]]) -> Path:
    """The final name of a file that was written under a temporary one."""
    for call, path, rest in calls:
        if call.startswith("rename") and path == file:
            return Path(re.findall(r'"([^"]*)"', rest)[-1])
    return file


def test_old_checkpoint_is_deleted_after_the_new_one_is_synced(calls) -> None:
    _, done = calls
    removed = next(
        i for i, (c, p, _) in enumerate(done) if c in ("unlink", "unlinkat", "rmdir") and "step_00000001" in str(p)
    )
    third = next(i for i, (c, _, rest) in enumerate(done) if c.startswith("rename") and '/step_00000003"' in rest)
    assert third < next(i for i, (c, _, _) in enumerate(done) if i > third and c == "fsync") < removed
