"""The choice of device and dtype, and the tuned allocator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from r1kit import machine
from r1kit.machine import Compute, choose_compute, choose_dtype


@pytest.mark.parametrize(("flags", "dtype"), [({"avx2"}, "float32"), ({"amx_bf16"}, "bfloat16")])
def test_auto_dtype_on_a_cpu_follows_its_instructions(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], dtype: str
) -> None:
    monkeypatch.setattr(machine, "_cpu_flags", lambda: flags)
    assert choose_compute("cpu") == Compute("cpu", dtype)
    assert choose_dtype("cuda") == "bfloat16"


def test_explicit_dtype_is_kept() -> None:
    assert choose_compute("cpu", "float32").dtype == "float32" and choose_compute("cpu", "bfloat16").dtype == "bfloat16"


def test_render_lists_sandboxes_and_warnings() -> None:
    report = machine.examine([("wasm", True, "contained all canaries"), ("none", False, "not asked for")], [])
    text = machine.render(report)
    assert "sandbox    wasm: yes, contained all canaries" in text
    assert "warning    the bundled model sprout-base is missing" in text
    assert machine.NO_SANDBOX in machine.examine([("wasm", False, "no")], [])["warnings"]
    unbuilt = machine.examine([("wasm", None, "it is built later")], [])
    assert "sandbox    wasm: not yet, it is built later" in machine.render(unbuilt)
    assert machine.NO_SANDBOX not in unbuilt["warnings"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_tuned_allocator_avoids_page_faults() -> None:
    code = (
        "import sys, resource\nfrom r1kit.machine import tune_allocator\n"
        "if sys.argv[1] == 'tuned': assert tune_allocator()\n"
        "import torch\nx = torch.ones(12_000_000)\n"
        "for _ in range(9): (x * 2).exp().sum()\n"  # until the heap has its final size
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(5): (x * 2).exp().sum()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    plain, tuned = (
        int(subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, check=True).stdout)
        for mode in ("plain", "tuned")
    )
    if plain < 10_000:
        pytest.skip("this allocator causes few page faults by default")
    assert tuned < plain / 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_returns_to_the_system() -> None:
    code = (
        "from pathlib import Path\nfrom r1kit.machine import free_memory, tune_allocator\n"
        "assert tune_allocator()\nimport torch\n"
        "def resident(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        "before = resident()\n"
        "large, small = zip(*((torch.ones(1_000_000), torch.ones(1_000)) for _ in range(200)))\n"  # 800 MB with holes
        "full = resident() - before\ndel large\nkept = resident() - before\nfree_memory()\n"
        "print(full, kept, resident() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    full, kept, left = map(int, done.stdout.split())
    assert full > 700e6 and kept > 700e6 and left < 100e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux kills a process that has no memory left")
def test_too_little_memory_ends_a_stage_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'name = "p"\ndevice = "cpu"\n[stage.s]\nkind = "pretrain"\nvocab_size = 300\ncontext_length = 512\nsteps = 1\n'
        "sequences_per_step = 64\narchitecture = { hidden_size = 256, intermediate_size = 1024, num_hidden_layers = 8, "
        "num_attention_heads = 4, num_key_value_heads = 4 }\n"
    )
    code = (
        "import sys\nfrom r1kit import cli, machine\n"
        "machine._available_memory = lambda: 600_000_000\n"  # as if other processes held the rest
        "sys.argv = ['r1kit', 'run', 'p.toml', '--run-dir', 'run']\ncli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("error: ") == 1 and "error: out of memory: use a smaller model" in done.stderr
