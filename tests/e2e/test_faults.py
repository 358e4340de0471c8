"""Real faults: a full disk, exhausted memory, broken data and failing rewards.

Nothing is lost, and one message says what to do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.config import RL, PromptSource
from r1kit.data.problems import load_problems
from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.metrics.log import read_metrics
from r1kit.model.hf import publish_model
from r1kit.stages import rl
from r1kit.stages.context import StageContext

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(rl.__file__).parents[2])}


@pytest.fixture(scope="module")
def model_dir(make_decoder, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny") / "model"
    publish_model(make_decoder(0), tokenizer, directory)
    return directory


# -- a full disk --------------------------------------------------------------------------------------------------

FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from r1kit.errors import UserError
from r1kit.config import RL
from r1kit.stages import rl
from r1kit.stages.context import StageContext

model, small = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], check=True, timeout=60)
watchdogs = dict.fromkeys("never_ends always_cut_off constant_reward".split(), "off")
config = RL(kind="rl", model="m", prompts=[{"source": "world:arithmetic", "limit": 4}], steps=6, prompts_per_step=2,
            num_generations=2, steps_per_rollout=1, max_completion_length=8, save_every=2, watchdogs=watchdogs)

def stage(name):
    (small / name).mkdir(exist_ok=True)
    return StageContext(name, small / name, 5, "float32", "cpu", 8, {"m": model})

rl.run(config, stage("undisturbed"))
filler = small / "filler"
append = rl.WatchdogLog.append
def fill_first(self, row):  # fill the disk just before step 4 is logged
    if row["step"] == 4:
        with open(filler, "wb", buffering=0) as handle:
            try:
                while True:
                    handle.write(b"x" * 4096)
            except OSError:
                pass
        with open(self.path, "ab", buffering=0) as handle:  # also the rest of the log's last block
            try:
                while True:
                    handle.write(b"x")
            except OSError:
                pass
    append(self, row)
rl.WatchdogLog.append = fill_first
try:
    rl.run(config, stage("full"))
except UserError as error:
    print("UserError:", error)
rl.WatchdogLog.append = append
filler.unlink()
rl.run(config, stage("full"))
for file in ("model/model.safetensors", "metrics.jsonl"):
    print(file, (small / "undisturbed" / file).read_bytes() == (small / "full" / file).read_bytes())
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux namespaces to mount a small file system")
def test_full_disk_stops_the_run_and_loses_nothing(model_dir: Path, tmp_path: Path) -> None:
    """Use a file system of 24 MB. After space is freed, the run ends in the same bytes as an undisturbed one."""
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*inside, "true"], capture_output=True, timeout=120, check=False).returncode:
        pytest.skip("this machine does not allow user namespaces")
    script, small = tmp_path / "full.py", tmp_path / "small"
    script.write_text(FULL_DISK)
    small.mkdir()
    command = [*inside, sys.executable, str(script), str(model_dir), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    message, *same = done.stdout.splitlines()
    assert "metrics.jsonl: step 4 could not be logged: No space left on device" in message
    assert "run the same command again" in message
    assert same == ["model/model.safetensors True", "metrics.jsonl True"]


# -- exhausted memory ------------------------------------------------------------------------------------------

OUT_OF_MEMORY = """
import json, resource, sys
import torch
from r1kit.config import RL
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.types import Completion

torch.set_num_threads(1)
shape = dict(model_type="llama", vocab_size=4000, hidden_size=32, intermediate_size=64, num_hidden_layers=2)
shape |= dict(num_attention_heads=4, num_key_value_heads=2, head_dim=8, eos_token_ids=(0,))

def learner(tokens):
    model = Decoder(ModelConfig(**shape))
    model.init_weights(0)
    config = RL(kind="rl", model="m", prompts=["world:arithmetic"], micro_batch_tokens=tokens, beta=0.0, steps=9)
    return Learner(model, config)

generator = torch.Generator().manual_seed(0)
ids = torch.randint(1, 4000, (4, 16, 256), generator=generator).tolist()
groups = [[Completion(str(p), g, tuple(row), (-8.0,) * 256, "", "stop") for g, row in enumerate(group)]
          for p, group in enumerate(ids)]
batch = make_batch([[1, 2, 3]] * 4, groups, torch.randn(4, 16, generator=generator), temperature=1.0,
                   mask_truncated=False)
fits, tight = learner(2048), learner(1 << 20)
fits.backward(batch, 256)
page = resource.getpagesize()
now = int(open("/proc/self/statm").read().split()[0]) * page
resource.setrlimit(resource.RLIMIT_AS, (now + (int(sys.argv[1]) << 20), -1))
tight.backward(batch, 256)
error = max(float((a.grad - b.grad).norm() / a.grad.norm())
            for a, b in zip(fits.model.parameters(), tight.model.parameters()))
print(json.dumps({"tokens": tight.passes.micro_batch_tokens, "error": error}))
print(json.dumps({k: v for k, v in tight.step(batch, 0).items() if k == "micro_batch_tokens"}))
"""


def out_of_memory(tmp_path: Path, megabytes: int) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "oom.py"
    script.write_text(OUT_OF_MEMORY)
    command = [sys.executable, str(script), str(megabytes)]
    # Freed memory must return to the system, so that torch can use what the limit leaves.
    environment = {**ENVIRONMENT, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
def test_micro_batch_that_does_not_fit_is_halved_and_the_gradient_is_the_same(tmp_path: Path) -> None:
    done = out_of_memory(tmp_path, 150)
    assert done.returncode == 0, done.stderr
    halved, metrics = map(json.loads, done.stdout.splitlines())
    assert 256 <= halved["tokens"] < 16_384 and halved["error"] < 1e-5
    assert metrics == {"micro_batch_tokens": halved["tokens"]}, "the next step starts with the smaller size"
    assert "out of memory: continuing with" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
def test_single_completion_that_does_not_fit_is_a_user_error(tmp_path: Path) -> None:
    done = out_of_memory(tmp_path, 4)
    assert done.returncode == 1
    assert "UserError: out of memory with one completion at a time (256 tokens)" in done.stderr.splitlines()[-1]


# -- data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"question": "1 + 1", "answ', "Invalid control character"),
        (b'{"question": "1 \xff 1", "answer": "2"}', "can't decode byte 0xff"),
        (b'["1 + 1", "2"]', "a list, not an object"),
        (b'{"question": "1 + 1"}', "must be a question as text"),
        (b"\x00" * 40, "Expecting value"),
    ],
)
def test_unreadable_line_of_a_data_set_is_named(model_dir: Path, tmp_path: Path, line: bytes, why: str) -> None:
    """The error names file, line and reason before anything is sampled or logged."""
    path = tmp_path / "sums.jsonl"
    good = b'{"question": "2 + 2", "answer": "4"}\n'
    path.write_bytes(good + line + b"\n" + good.replace(b"2", b"3"))
    config = RL(kind="rl", model="m", prompts=[str(path)], steps=1)
    with pytest.raises(DataError, match=f"(?s){path}, (line|row) 2: .*{why}"):
        rl.run(config, StageContext("zero", tmp_path / "zero", 0, "float32", "cpu", 8, {"m": model_dir}))
    assert not (tmp_path / "zero/metrics.jsonl").exists()
    path.write_bytes(good)
    assert len(load_problems([PromptSource(source=str(path))])) == 1


# -- rewards ------------------------------------------------------------------------------------------------------

REWARDS = """
import os, signal, time
from pathlib import Path

def raises_on(problem, text):
    if len(text) % 3 == 0:
        raise KeyError("no such unit")
    return float(len(text) % 7)

def raises(problem, text): return {}["no such unit"]
def none(problem, text): return None
def nan(problem, text): return float("nan")
def many(problem, text): return [1.0, 2.0]
def hangs(problem, text): time.sleep(3600)
def dies(problem, text): os.kill(os.getpid(), signal.SIGKILL)

def dies_once(problem, text):
    mark = Path(__file__).with_name(f"mark-{problem.id}-{len(text)}")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(len(text) % 7)

def sound(problem, text): return float(len(text) % 7)
"""


@pytest.fixture
def train(model_dir: Path, tmp_path: Path):
    """Return a function that runs a short RL stage whose completions are graded in worker processes."""
    (tmp_path / "faulty_rewards.py").write_text(REWARDS)

    def run(name: str, reward: str, workers: int = 1, **watchdogs: str) -> Path:
        off = dict.fromkeys("never_ends always_cut_off constant_reward".split(), "off")
        config = RL(
            kind="rl", model="m", prompts=[{"source": "world:arithmetic", "limit": 4}], steps=2, prompts_per_step=2,
            num_generations=3, steps_per_rollout=1, max_completion_length=24, beta=0.0, save_every=1,
            rewards={f"faulty_rewards:{reward}": 1.0}, watchdogs=off | watchdogs, learning_rate=1e-3,
        )  # fmt: skip
        directory = tmp_path / name
        grading = {"folder": str(tmp_path), "timeout": 3.0 if reward == "hangs" else 300.0}
        context = StageContext(name, directory, 5, "float32", "cpu", 8, {"m": model_dir}, {}, workers, grading)
        rl.run(config, context)
        return directory

    return run


def test_completions_whose_reward_raises_are_masked_and_counted(train, capfd) -> None:
    rows = read_metrics(train("zero", "raises_on", grading_fails="off") / "metrics.jsonl")
    shares = [row.get("completions/ungraded", 0) for row in rows]
    assert any(0 < share < 1 for share in shares), "with this seed some fail and some do not"
    assert all(row["reward"] > 0 for row in rows), "failed completions are not in the mean"
    first = next(row for row in rows if "alerts" in row and "ungraded" in row["alerts"])
    assert "no such unit" in first["alerts"]["ungraded"] and first["ungraded_reason"]
    assert capfd.readouterr().err.count("ungraded: ") == 1


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        ("raises", "no such unit"),
        ("none", "None"),
        ("nan", "nan"),
        ("many", r"\[1.0, 2.0\]"),
        pytest.param("hangs", "no answer within 3 seconds", marks=pytest.mark.slow),
        ("dies", "died on each of 2 tries"),
    ],
)
def test_reward_that_always_fails_stops_the_run(train, reward: str, reason: str) -> None:
    """A failure is never scored 0: the function hangs, dies, raises, or returns None, NaN or a list."""
    with pytest.raises(UserError, match=f"(?s)grading_fails: 100 % .*{reason}|could not be scored.*{reason}"):
        train("zero", reward)


@pytest.mark.slow
def test_worker_that_dies_is_replaced_and_the_result_is_the_same(train) -> None:
    sound = (train("sound", "sound") / "model/model.safetensors").read_bytes()
    for workers in (1, 2, 4):
        died = train(f"died-{workers}", "dies_once", workers)
        assert (died / "model/model.safetensors").read_bytes() == sound
        assert all("completions/ungraded" not in row for row in read_metrics(died / "metrics.jsonl"))
        for mark in died.parent.glob("mark-*"):
            mark.unlink()  # so that every worker dies again
