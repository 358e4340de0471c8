"""A disk that is really full: a small file system of its own, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


@pytest.fixture
def on_small_disk(tmp_path: Path):
    """on_small_disk(size, *command) runs it where `tmp_path/disk` is a file system of that size."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(size: str, *command: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join([str(HERE.parent), str(HERE), *sys.path])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(disk)]
        return subprocess.run([*alone, *command], env=environment, capture_output=True, text=True, timeout=500)

    if shutil.which("unshare") is None or run("64k", "true").returncode:
        pytest.skip("no unprivileged mount namespaces here (unshare): a small file system cannot be mounted")
    return run


def test_a_disk_full_at_any_write_of_a_save_costs_that_checkpoint_only(on_small_disk, tmp_path: Path) -> None:
    done = on_small_disk("4m", sys.executable, "-W", "ignore", str(HERE / "on_full_disk.py"), str(tmp_path / "disk"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    failed = [save for save in found["saves"] if not save["saved"]]
    assert len(failed) > 20 and found["saves"][-1]["saved"], "from no room at all to enough"
    for save in failed:
        [line] = save["said"]
        assert "No space left on device" in line and "the last good checkpoint is step_" in line and "Free space" in line
    assert found["went_on_identical"] and found["resumed_identical"]


def test_a_run_stops_with_one_message_and_goes_on_when_there_is_room(on_small_disk, tmp_path: Path) -> None:
    """Where not only the checkpoint but a row of metrics or a model cannot be written."""
    where = ("--world", str(tmp_path / "world"), "--runs", str(tmp_path / "disk"))
    done = on_small_disk("16m", sys.executable, str(HERE / "sweep.py"), "-n", "4", "--by", "fill", *where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "crashtest: 4/4 identical"
