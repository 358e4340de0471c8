"""What a command prints when something goes wrong: sentences and never a traceback. Imports of optional packages."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import r1kit
from r1kit import cli, errors
from r1kit.errors import Interrupted, UserError, require

SOURCE = str(Path(r1kit.__file__).parents[1])


def run_command(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": SOURCE, **environment}
    return subprocess.run([sys.executable, "-m", "r1kit", *args], cwd=cwd, env=env, capture_output=True, timeout=300)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Interrupted("stopped"), 130, "stopped"),
        (UserError("a = 0: must be 1\nb = 0: must be 1"), 2, "error: a = 0: must be 1\n  b = 0: must be 1"),
        (UserError(""), 2, "error: UserError"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 2, "error: x: Is a directory"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: x: Permission denied: give a --run-dir, "),
        (OSError(errno.EIO, "Input/output error"), 2, "error: Input/output error"),
        (MemoryError(), 2, "error: out of memory: "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "error: out of memory: "),
        (RuntimeError("bad\nlong story"), 1, "error: unexpected RuntimeError: bad ...\n  the traceback is in "),
        (ZeroDivisionError(), 1, "error: unexpected ZeroDivisionError: \n  the traceback is in "),
    ],
)
def test_exit_code_and_message(error: Exception, code: int, text: str) -> None:
    assert errors.exit_code(error) == code
    assert errors.message(error).startswith(text)


def test_unexpected_error_leaves_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("not as planned: 你好")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("r1kit.recipe.load_recipe", broken)
    monkeypatch.setattr(sys, "argv", ["r1kit", "check", "sprout-zero"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    (file,) = tmp_path.iterdir()
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert lines == ["error: unexpected TypeError: not as planned: 你好", f"  the traceback is in {file}"]
    assert "in broken" in file.read_text(encoding="utf-8")


def test_error_of_a_stage_names_the_file_of_its_traceback() -> None:
    error = KeyError("x")
    error.add_note("stage zero failed; the traceback is in runs/a/stages/zero/error.txt")
    assert errors.message(error).splitlines()[1:] == [
        "  stage zero failed; the traceback is in runs/a/stages/zero/error.txt"
    ]


# -- the locale ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ascii_locale_reads_and_prints_chinese(tmp_path: Path) -> None:
    ascii_only = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "数据.jsonl").write_text('{"question": "一加一等于几？", "answer": "2"}\n', encoding="utf-8")
    (tmp_path / "答案.jsonl").write_text(
        '{"kind": "math", "response": "\\\\boxed{五}", "gold": "5"}\n', encoding="utf-8"
    )
    for args in (
        ("eval", "sprout-base", "--prompts", "数据.jsonl", "--samples", "1", "--max-completion-length", "4"),
        ("sample", "sprout-base", "一加一等于几？", "--max-completion-length", "4"),
        ("grade", "答案.jsonl"),
    ):
        done = run_command(*args, cwd=tmp_path, **ascii_only)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    done = run_command("check", "配方", cwd=tmp_path, **ascii_only)
    assert done.returncode == 2 and "error: 配方: neither a file".encode() in done.stderr


@pytest.mark.slow
def test_ascii_terminal_shows_escapes(tmp_path: Path) -> None:
    done = run_command("check", "配方", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and b"error: \\u914d\\u65b9: neither a file" in done.stderr


# -- directories that cannot be written ------------------------------------------------------------------------------

READ_ONLY = """
mount -t tmpfs tmpfs "$1" && mkdir "$1/runs" && mount -o remount,ro "$1" && cd "$1" || exit 99
shift
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "sprout-zero"), b"Read-only file system: give a --run-dir"),
        (("run", "sprout-zero", "--run-dir", "a/b"), b"Read-only file system: give a --run-dir"),
        (("run", "sprout-zero", "--dry-run"), b""),
        (("check", "sprout-zero"), b""),
        (("report", "runs"), b"runs is not a run directory"),
    ],
)
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux namespaces to mount a read-only file system")
def test_read_only_directory_gives_one_sentence(tmp_path: Path, args: tuple[str, ...], message: bytes) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*inside, "true"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("this machine does not allow user namespaces")
    command = [*inside, "sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable, "-m", "r1kit", *args]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True, timeout=300)
    assert b"Traceback" not in done.stderr and message in done.stderr, done.stderr
    assert done.returncode == (2 if message else 0), done.stderr


def test_require_returns_the_module() -> None:
    assert require("json", "hub") is json


def test_require_names_the_command_that_installs_a_missing_package() -> None:
    with pytest.raises(UserError, match=r"no_such_package is not installed: run pip install 'r1kit\[hub\]'"):
        require("no_such_package.part", "hub")


def test_require_does_not_hide_a_broken_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("broken_package", "hub")
