"""The recipe r1-qwen-7b: the paper's values, and a run of all stages with small random models.

A random model answers no problem correctly, and without correct answers there is nothing to curate. Therefore all
training problems have the same answer, and the first base model is trained to give it in the template's format. A local
server replaces DeepSeek-V3 as rewriter and judge.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent))
from test_distill_recipes import student

from r1kit import plan
from r1kit.data.store import read_rows
from r1kit.data.template import R1_ZERO_TEMPLATE
from r1kit.recipe import load_recipe

ANSWER = "8"
RESPONSE = f"<think>\nI count all of them.\n</think>\n<answer> {ANSWER} </answer>"
SMALL: dict[str, dict[str, Any]] = {  # by kind of stage
    "evaluate": {"samples": 2, "max_completion_length": 32},
    "rl": {"steps": 2, "prompts_per_step": 2, "num_generations": 2, "steps_per_rollout": 1}
    | {"max_completion_length": 64, "micro_batch_tokens": 1024, "learning_rate": 1e-6},
    "sft": {"epochs": 2, "sequences_per_step": 4, "context_length": 512, "learning_rate": 1e-2, "held_out": 0},
    "preference": {"sequences_per_step": 4, "context_length": 512},
    "curate": {"samples": 4, "max_completion_length": 64},
}


def test_recipe_has_the_papers_values_and_the_stages_of_sprout_r1() -> None:
    recipe, sprout = load_recipe("r1-qwen-7b"), load_recipe("sprout-r1")
    stage = recipe.stage
    about_steps = [text for text in plan.make_plan(recipe).warnings if "is not a multiple" in text]
    assert [text.partition(":")[0] for text in about_steps] == ["stage.r1"]  # the paper's numbers
    students = [name for name in sprout.stage if name.split("_")[0] in ("small", "medium", "large")]
    common = [name for name in sprout.stage if name not in students]
    assert list(stage)[: len(common)] == common
    assert all(stage[name].kind == sprout.stage[name].kind for name in common)
    zero, dev2, r1 = stage["zero"], stage["dev2"], stage["r1"]
    assert zero.steps == 10_400 and zero.max_completion_length == {0: 32_768, 8_200: 65_536}
    assert {rl.epsilon for rl in (dev2, r1)} == {10.0} and (r1.temperature, r1.steps, r1.general_steps) == (
        0.7,
        1700,
        400,
    )
    for rl in (zero, dev2, r1):
        assert (rl.learning_rate, rl.beta, rl.ref_refresh_steps) == (3e-6, 0.001, 400)
        assert rl.prompts_per_step * rl.num_generations * rl.steps_per_rollout == 8192
    for sft in (stage["dev1"], stage["dev3"]):
        assert (sft.learning_rate, sft.sequences_per_step, sft.context_length) == (5e-5, 128, 32_768)
        assert sft.model == "Qwen/Qwen2.5-7B" and sft.min_lr_ratio == 0.1
    assert [stage[name].learning_rate for name in ("qwen_1_5b", "qwen_7b", "llama_8b")] == [1e-4, 8e-5, 5e-5]
    assert {stage[f"{name}_zero"].learning_rate for name in ("qwen_1_5b", "qwen_7b", "llama_8b")} == {2e-6}
    assert (stage["helpful"].sequences_per_step, stage["helpful"].learning_rate) == (256, 6e-6)


def taught_base(problems: list[dict], directory: Path) -> Path:
    """Train a random Qwen to respond with RESPONSE to every prompt in R1-Zero's template."""
    student("qwen", problems, directory)
    model, tokenizer = (cls.from_pretrained(directory) for cls in (AutoModelForCausalLM, PreTrainedTokenizerFast))
    prompts = [tokenizer.encode(R1_ZERO_TEMPLATE.replace("{question}", p["question"])) for p in problems]
    said = [*tokenizer.encode(RESPONSE), tokenizer.eos_token_id]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p + said for p in prompts])
    labels = ids.clone()
    labels[:, :longest] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0)
    for _ in range(200):
        loss = model(input_ids=ids, labels=labels).loss
        if loss < 0.02:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.02
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def same_answer(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 16 shortest problems with the answer ANSWER."""
    rows = [row for row in read_rows(data_dir / "gsm8k" / "train.jsonl") if row["answer"].endswith(f"#### {ANSWER}")]
    path = tmp_path_factory.mktemp("same") / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in sorted(rows, key=lambda r: len(r["question"]))[:16]))
    return path


class Service(BaseHTTPRequestHandler):
    """Rewrites, compares and judges safety by the hash of the texts, so replies are deterministic."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        texts = [text for _, text in re.findall(r"\n(=====[0-9a-f]+=====)\n(.*?)\n\1", asked, re.DOTALL)]
        hashes = [hashlib.sha256(text.encode()).digest() for text in texts]
        one, last = hashes[1], hashes[-1]
        opening = ("It is", "I get", "So it is", "That makes")[hashes[0][0] % 4]
        reply = f"<think>\nI count all of them.\n</think>\n{opening} \\boxed{{{ANSWER}}}."
        if "Two assistants" in asked:
            reply = "Verdict: equal" if one == last else f"Verdict: {'first' if one > last else 'second'} much better"
        elif "safe" in asked.splitlines()[0]:
            reply = "Verdict: safe" if last[0] % 2 else "Verdict: unsafe"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": reply}}]}).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def service() -> Iterator[str]:
    """The server as a table of a recipe."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'{{base_url = "http://127.0.0.1:{server.server_port}/v1", model = "service"}}'
        server.shutdown()


def overrides(data_dir: Path, prompts: Path, bases: dict[str, Path], service: str) -> list[str]:
    test = f'[{{source = "{data_dir}/%s", limit = 2}}]'
    benchmarks = f"{{reasoning = {test % 'math/math500.jsonl'}, general = {test % 'mmlu_pro/sample.jsonl'}}}"
    general = '{prompts = ["%s"], rewards = {%s = 1.0, format = 1.0}}'
    by_name: dict[str, dict[str, Any]] = {
        "cold_data": {"rewriter": service},
        "dev1": {"epochs": 40},
        "rs_data": {"data": '["world:talk"]', "temperature": 0.5},
        "dev3": {"epochs": 40},
        "helpful_pairs": {"temperature": 1.2, "samples": 8, "judge": service},
        "safety_labels": {"judge": service},
        "r1": {"general_steps": 1, "general": f"[{general % (prompts, 'helpful')}, {general % (prompts, 'safety')}]"},
    }
    texts = []
    for name, stage in load_recipe("r1-qwen-7b").stage.items():
        keys = dict(SMALL[stage.kind])
        if stage.model in bases:
            keys["model"] = json.dumps(str(bases[stage.model]))
        if stage.kind in ("evaluate", "curate"):
            keys["benchmarks"] = benchmarks
        if stage.kind in ("rl", "curate"):
            keys["prompts"] = json.dumps([str(prompts)])
        texts += [f"stage.{name}.{key}={value}" for key, value in {**keys, **by_name.get(name, {})}.items()]
    return texts


@pytest.mark.long
def test_all_stages_run(data_dir: Path, same_answer: Path, service: str, tmp_path: Path) -> None:
    problems = list(read_rows(same_answer))
    bases = {"Qwen/Qwen2.5-7B": taught_base(problems, tmp_path / "7b")}
    bases |= dict.fromkeys(
        ("Qwen/Qwen2.5-Math-1.5B", "Qwen/Qwen2.5-Math-7B"), student("qwen", problems, tmp_path / "q")
    )
    bases["meta-llama/Llama-3.1-8B"] = student("llama", problems, tmp_path / "llama")
    sets = overrides(data_dir, same_answer, bases, service)
    command = [sys.executable, "-m", "r1kit", "run", "r1-qwen-7b", "--run-dir", str(tmp_path / "run"), "--json"]
    command += [part for text in sets for part in ("--set", text)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    stages = tmp_path / "run" / "stages"
    assert {path.parent.name for path in stages.glob("*/artifact.json")} == set(load_recipe("r1-qwen-7b").stage)
    cold = list(read_rows(stages / "cold_data/data/kept.jsonl"))
    assert cold and all(f"\\boxed{{{ANSWER}}}" in row["response"] for row in cold)
    assert "As in the paper?" in (tmp_path / "run/report.html").read_text()
