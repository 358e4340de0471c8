"""Examples for SLURM and Kubernetes, and the commands of docs/scaling.md, are accepted by what they are given to."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from paths import ROOT

from r1kit import cli
from r1kit.plan import Cluster
from r1kit.recipe import load_recipe

SLURM, KUBERNETES = ROOT / "examples/slurm/train.sbatch", ROOT / "examples/kubernetes"
SERVER = "vllm.entrypoints.openai.api_server"
CPU_ONLY = {"--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens"}
OWN = {"--max-model-len", "--dtype", "--max-num-seqs"}  # in our tests, of their model


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters of an r1kit command; fails if it has other ones. Recipes and their keys must exist."""
    group: Any = typer.main.get_command(cli.app)
    return group.commands[words[0]].make_context(words[0], words[1:]).params


def torchrun(words: list[str]) -> tuple[Any, dict[str, Any]]:
    """The parameters of torchrun, and those of the r1kit command that it starts."""
    from torch.distributed.run import get_args_parser

    found = get_args_parser().parse_args(words[1:])
    assert words[0] == "torchrun" and found.module and found.training_script == "r1kit"
    return found, parsed(found.training_script_args)


def containers(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job of a JobSet with one job, and its container."""
    jobset = yaml.safe_load((KUBERNETES / name).read_text())
    assert jobset["kind"] == "JobSet"
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    names = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    return {"jobset": jobset["metadata"]["name"], "name": job["name"], **spec}, container


def test_kubernetes_starts_one_process_for_each_gpu_of_all_nodes() -> None:
    job, container = containers("train.yaml")
    launcher, run = torchrun(container["command"])
    assert int(launcher.nnodes) == job["parallelism"] == job["completions"]
    assert int(launcher.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    first = f"{job['jobset']}-{job['name']}-0-0.{job['jobset']}"  # JobSet's name of the first pod
    assert launcher.rdzv_endpoint.rpartition(":")[0] == first
    assert launcher.shutdown_timeout < job["template"]["spec"]["terminationGracePeriodSeconds"]
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert all(any(str(path).startswith(folder) for folder in mounted) for path in (run["recipe"], run["run_dir"]))


def options(words: list[str]) -> dict[str, str]:
    """Options of a command with their values."""
    pairs = re.findall(r"(--[a-z-]+)(?: |=)?((?!--)\S.*?)?(?= --|$)", " ".join(words))
    return {name: value.strip("'") for name, value in pairs}


def test_servers_are_started_with_the_options_of_the_tests_with_vllm() -> None:
    import vllm_process

    tested = {name: value for name, value in options(vllm_process.OPTIONS).items() if name not in CPU_ONLY | OWN}
    assert len(tested) >= 6
    job, container = containers("servers.yaml")
    assert container["command"][:3] == ["python", "-m", SERVER]
    assert {"name": "VLLM_SERVER_DEV_MODE", "value": "1"} in container["env"]
    first = f"http://{job['jobset']}-{job['name']}-0-0.{job['jobset']}:8000"
    assert f'"{first}"' in (KUBERNETES / "servers.yaml").read_text()
    text = SLURM.read_text()
    for command in (container["command"], text[text.index(SERVER) : text.index("&\n")].replace("\\\n", " ").split()):
        found = options(command)
        assert {name: found.get(name) for name in tested} == tested
    assert "VLLM_SERVER_DEV_MODE=1 srun" in text


# Programs with the names of SLURM's that note how they are called. As in SLURM, a signal of scancel reaches every
# process of the step. A step with servers does nothing.
PROGRAMS = {
    "srun": """
        echo srun $* >> calls
        while [ "$1" ] && [ "$1" != bash ]; do shift; done
        case "$*" in *torchrun*) echo $$ > step; exec "$@";; esac""",
    "torchrun": """
        trap 'echo TERM >> signals; exit 1' TERM
        touch started
        for ((i = 0; i < 10 * ${TRAINING_SECONDS:-0}; i++)); do sleep 0.1; done""",
    "scontrol": """
        echo "scontrol $@" >> calls
        [ "$1" = requeue ] || tr , "\\n" <<< "$3" """,
    "scancel": """
        echo "scancel $@" >> calls
        processes() { echo $1; for each in $(cat /proc/$1/task/*/children); do processes $each; done; }
        kill -s "${1#--signal=}" $(processes $(cat step))""",
}


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """A directory with PROGRAMS."""
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(slurm: Path, nodes: int, *words: str, **settings: str) -> subprocess.Popen[str]:
    names = ",".join(f"n{i}" for i in range(nodes))
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": names, "SLURM_CPUS_ON_NODE": "96", "SLURM_GPUS_ON_NODE": "8"}
    environment = {**os.environ, **job, **settings, "PATH": f"{slurm}:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", str(SLURM), *words], cwd=slurm, env=environment, text=True)


def calls(slurm: Path) -> list[list[str]]:
    return [shlex.split(line, posix=False) for line in (slurm / "calls").read_text().splitlines()]


@pytest.mark.parametrize("nodes", [1, 4, 64])
def test_slurm_starts_torchrun_on_every_node(slurm: Path, nodes: int) -> None:
    assert (
        start(slurm, nodes, "sprout-zero", "runs/a", "--set", "stage.zero.steps=3", SLURM_RESTART_COUNT="2").wait() == 0
    )
    (words,) = (words for words in calls(slurm) if "torchrun" in words)
    launcher, run = torchrun(words[words.index("torchrun") :])
    assert (int(launcher.nnodes), launcher.nproc_per_node, launcher.rdzv_id) == (nodes, "8", "7-2")
    assert launcher.rdzv_endpoint == "n0:29500"
    assert f"--nodelist={','.join(f'n{i}' for i in range(nodes))}" in words and "--cpus-per-task=96" in words
    assert run["recipe"] == "sprout-zero" and Path(run["run_dir"]) == slurm / "runs/a"
    assert load_recipe("sprout-zero", run["overrides"]).stage["zero"].steps == 3


def test_slurm_starts_servers_on_the_last_nodes(slurm: Path) -> None:
    settings = {"SERVER_NODES": "1", "SERVED_MODEL": "/m", "HF_HOME": "/hf", "LOCAL_CACHE": "/tmp/hf"}
    assert start(slurm, 3, "sprout-zero", "runs/a", **settings).wait() == 0
    cached, *others = calls(slurm)[1:]
    assert cached == ["srun", "rsync", "--archive", "/hf/", "/tmp/hf/"]
    text = (slurm / "calls").read_text()
    assert "srun --nodes=1 --nodelist=n2 --ntasks-per-node=8 --cpus-per-task=12 bash -c" in text
    (words,) = (words for words in others if "torchrun" in words)
    launcher, run = torchrun(words[words.index("torchrun") :])
    assert launcher.nnodes == "2" and "--nodelist=n0,n1" in words
    assert load_recipe("sprout-zero", run["overrides"]).engine == [f"http://n2:{8000 + i}" for i in range(8)]


def test_slurm_stops_training_before_the_time_limit_and_requeues(slurm: Path) -> None:
    """Send torchrun SIGTERM once: it passes it on, and a second one would end processes before they save."""
    job = start(slurm, 1, "sprout-zero", "runs/a", TRAINING_SECONDS="60")
    while not (slurm / "started").exists():
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) != 0
    assert ["scancel", "--signal=USR2", "7"] in calls(slurm) and calls(slurm)[-1] == ["scontrol", "requeue", "7"]
    assert (slurm / "signals").read_text() == "TERM\n"


def test_slurm_does_not_repeat_a_run_that_failed(slurm: Path) -> None:
    (slurm / "srun").write_text("#!/bin/bash\necho srun >> calls\nexit 3\n")
    assert start(slurm, 1, "sprout-zero", "runs/a").wait() == 3
    assert ["scontrol", "requeue", "7"] not in calls(slurm)


def commands() -> list[str]:
    text = (ROOT / "docs/scaling.md").read_text()
    blocks = "".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0] for line in lines if line.startswith("r1kit ")]


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_page_are_accepted(command: str) -> None:
    run = parsed(shlex.split(command)[1:])
    recipe = load_recipe(run["recipe"], run["overrides"])
    assert recipe.stage
    if run.get("gpus"):
        assert Cluster.parse(run["gpus"]).count > 1


def test_page_has_commands() -> None:
    assert len(commands()) >= 3
