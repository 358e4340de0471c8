"""Mutated recipes, files and command lines end in a result or in a sentence, never in a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import huggingface_hub.constants
import pytest
from good_recipe import GOOD

from r1kit import cli, errors
from r1kit.recipe import bundled_recipes

CASES = 200
SECONDS = 60  # for one command

VALUES = [
    "0", "-1", "1", "2", "1e9", "nan", "inf", "-0.5", "9" * 400, "100000000000", '""', '" "', "true", "[]", "{}",
    "[1, 2]", "[[[]]]", '{ a = 1 }', '{ source = "world:arithmetic", limit = -1 }', '["world:arithmetic"]',
    '["world:"]', '["x.jsonl"]', '["bad.jsonl"]', '[""]', '["/"]', '["~nobody/x.jsonl"]', '"world:nothing"', '"base"',
    '"zero"', '"sprout-base"', '"sprout-bas"', '"org/none"', '"/etc/passwd"', '"."', '"数据"', '"\\u0000"', "'\\'",
    '"a' + "b" * 5000 + '"', "1979-05-27T07:32:00Z", "07:32:00", "0x10", "{ accuracy = -1.0 }",
    '{ "os:system" = 1.0 }', '{ "no_module:f" = 1.0 }', "{ 0 = 8, 4 = 9 }", "{ x = 8 }", '{ 1 = 8 }',
]  # fmt: skip
KEYS = "name seed device dtype judge stage defaults kind model prompts rewards steps data benchmarks epochs".split()
WORDS = [
    "", " ", "-", "--", "--help", "--json", "0", "-1", "nan", "x", "你好", "\udc80", "a=b", "=", "stage.zero.steps=",
    "stage=1", "stage.zero=1", "stage..steps=1", "stage.zero.steps=[", "seed=x", ".", "..", "/", "/dev/null",
    "good.toml", "bad.toml", "lines.jsonl", "runs", "run", "sprout-base", "org/none", "chat", "none", "r1-zero",
    "zero", "9" * 400,
]  # fmt: skip
COMMANDS = {
    "check": (["good.toml"], ["--set", "--seed", "--json"]),
    "run": (["good.toml"], ["--set", "--seed", "--until", "--from", "--run-dir", "--fork", "--json"]),
    "eval": (["sprout-base"], ["--prompts", "--split", "--template", "--temperature", "--top-p", "--seed", "--json"]),
    "sample": (["sprout-base", "1+1?"], ["-n", "--template", "--temperature", "--top-p", "--seed"]),
    "grade": (["lines.jsonl"], ["--workers", "--sandbox", "--judge-url", "--judge-model"]),
    "lineage": (["run"], ["--json"]),
    "report": (["run"], []),
}
FIXED = {  # so that what is valid is quick
    "run": ["--dry-run"],
    "eval": ["--limit", "1", "--samples", "1", "--max-completion-length", "4"],
    "sample": ["--max-completion-length", "4"],
}


def mutated_recipe(rng: Random, text: str) -> bytes:
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        key, equals, _ = lines[at].partition(" = ")
        change = rng.choice(["value"] * 5 + ["key", "delete", "repeat", "swap", "add", "table"])
        if change == "value" and equals:
            lines[at] = f"{key} = {rng.choice(VALUES)}"
        elif change == "key" and equals:
            lines[at] = lines[at].replace(key, rng.choice([*KEYS, key + "s", key[1:], key.upper(), f'"{key}.x"']), 1)
        elif change == "delete":
            lines[at] = ""
        elif change == "repeat":
            lines.insert(at, lines[at])
        elif change == "swap":
            lines[at], lines[0] = lines[0], lines[at]
        elif change == "add":
            lines.insert(at, f"{rng.choice(KEYS)} = {rng.choice(VALUES)}")
        elif change == "table":
            lines.insert(
                at, rng.choice(["[stage]", "[stage.x]", "[[stage.zero]]", "[defaults.rl]", "[judge]", "[]", "["])
            )
    data = "\n".join(lines).encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(data))
        data = rng.choice([data[:at], data[:at] + bytes([rng.randrange(256)]) + data[at:]])
    return data


def command_line(rng: Random) -> list[str]:
    command = rng.choice(list(COMMANDS))
    arguments, options = COMMANDS[command]
    words = [command, *arguments]
    for option in rng.sample(options, min(len(options), rng.randint(0, 2))):
        words += [option] if option == "--json" else [option, rng.choice(WORDS)]
    if rng.random() < 0.4:
        at = rng.randrange(1, len(words))
        words[at : at + rng.randint(0, 1)] = [rng.choice(WORDS)]
    return words + FIXED.get(command, [])


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(errors, "_save", lambda error: f"the traceback is in a file: {error!r}")
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe[")
    (tmp_path / "bad.jsonl").write_text('{"question": 1}\n[\n')
    (tmp_path / "lines.jsonl").write_text('{"kind": "math", "response": "\\\\boxed{5}", "gold": "5"}\n\n[\n')
    for name in ("artifact.json", "lineage.json", "recipe.toml"):
        (tmp_path / "run/stages/zero").mkdir(parents=True, exist_ok=True)
        (tmp_path / "run/stages/zero" / name).write_text("[]")
    return tmp_path


@pytest.fixture
def alarm() -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def outcome(args: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command in this process. Return "" or what is wrong with how it ended."""
    monkeypatch.setattr(sys, "argv", ["r1kit", *args])
    code: object = 0
    signal.alarm(SECONDS)
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException as error:
        return f"{args} raised {error!r}"
    finally:
        signal.alarm(0)
    out, err = capfd.readouterr()
    if "Traceback" in out + err or "error: unexpected " in err or code not in (0, 1, 2) or (code and not err.strip()):
        return f"{args} ended with {code}: {err[-600:]}"
    return ""


@pytest.mark.slow
def test_mutated_recipes_end_in_a_sentence(directory: Path, alarm, monkeypatch, capfd) -> None:
    rng = Random(16)
    texts = [GOOD] * 3 + [path.read_text(encoding="utf-8") for path in bundled_recipes().values()]
    wrong = []
    for case in range(CASES):
        (directory / "mutated.toml").write_bytes(mutated_recipe(rng, rng.choice(texts)))
        args = ["check", "mutated.toml"] if case % 4 else ["run", "mutated.toml", "--dry-run"]
        if result := outcome(args, monkeypatch, capfd):
            os.replace("mutated.toml", f"wrong-{case}.toml")
            wrong.append(f"case {case}: {result}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_mutated_command_lines_end_in_a_sentence(directory: Path, alarm, monkeypatch, capfd) -> None:
    rng = Random(61)
    wrong = [result for _ in range(CASES) if (result := outcome(command_line(rng), monkeypatch, capfd))]
    assert not wrong, "\n".join(wrong)
