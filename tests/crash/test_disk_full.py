"""A disk that is full: a small file system in its own mount namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


@pytest.fixture
def on_small_disk(tmp_path: Path):
    """Run commands, called with (size, *command), where `tmp_path/disk` is a file system of that size."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(size: str, *command: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join([str(HERE.parent), str(HERE), *sys.path])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(disk)]
        return subprocess.run([*prefix, *command], env=environment, capture_output=True, text=True, timeout=500)

    if shutil.which("unshare") is None or run("64k", "true").returncode:
        pytest.skip("no unprivileged mount namespaces here (unshare): a small file system cannot be mounted")
    return run


def test_full_disk_loses_only_the_checkpoint_being_written(on_small_disk, tmp_path: Path) -> None:
    done = on_small_disk("4m", sys.executable, "-W", "ignore", str(HERE / "on_full_disk.py"), str(tmp_path / "disk"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    failed = [save for save in result["saves"] if not save["saved"]]
    assert len(failed) > 20 and result["saves"][-1]["saved"], "from no free page to enough"
    for save in failed:
        [line] = save["output"]
        assert (
            "No space left on device" in line and "the last good checkpoint is step_" in line and "Free space" in line
        )
    assert result["went_on_identical"] and result["resumed_identical"]


@pytest.mark.long
def test_run_on_full_disk_fails_with_one_message_and_resumes_later(on_small_disk, tmp_path: Path) -> None:
    """Here a row of metrics or a model may not fit either."""
    where = ("--world", str(tmp_path / "world"), "--runs", str(tmp_path / "disk"))
    done = on_small_disk("16m", sys.executable, str(HERE / "sweep.py"), "-n", "4", "--by", "fill", *where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "crashtest: 4/4 identical"
