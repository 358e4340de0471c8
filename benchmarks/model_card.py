"""Is sprout-base a fair base? Measures it and writes its model card.

    python benchmarks/model_card.py runs/sprout-base
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from machine import describe, today

from r1kit import evaluate
from r1kit.config import PromptSource
from r1kit.evals.runner import ask, load_engine, sampling_params
from r1kit.evals.style import chinese_share, reflective_words
from r1kit.config import Sampling
from r1kit.data.prompts import load_problems

ASSET = Path(__file__).parents[1] / "src" / "r1kit" / "assets" / "sprout-base"
LENGTH = 160
WORLDS = [{"source": f"world:{name}", "split": "held_out", "limit": 50} for name in ("arithmetic", "countdown", "logic")]
CARD = """---
license: mit
library_name: transformers
language: [en, zh]
---
# sprout-base

The base model of r1kit's sprout world: {parameters:,} parameters, an ordinary Llama checkpoint, made by r1kit's own `pretrain` stage.
It has the ability to solve the world's problems without the habit. It knows nothing else.

- Made by: `make sprout-base` (recipe `recipes/sprout-base.toml`, seed {seed}), {tokens:,} tokens, {minutes:.0f} minutes on {machine}, {date}
- Identity of the stage: `{identity}`
- model.safetensors: {megabytes:.1f} MB, sha256 `{sha256}`

Not trained on: the R1-Zero template, held-out problems, their answers.

Measured by `python benchmarks/model_card.py RUN` on 150 held-out problems in the R1-Zero template, 64 samples each:

| sampling | pass@1 | 95 % interval | pass@64 | cons@64 | format rate | mean tokens |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Of 2,400 answers at temperature 1, {chinese:.1%} are mostly in Chinese and {mixed:.1%} mix both languages (of those with words);
{reflective:.1%} contain a word of second thoughts ("wait", "等等").
"""


def row(name: str, found: dict) -> str:
    low, high = found["ci95"]
    cells = [name, f"{found['pass@1']:.1%}", f"{low:.1%} - {high:.1%}", f"{found['pass@64']:.1%}", f"{found['cons@64']:.1%}"]
    return "| " + " | ".join([*cells, f"{found['format_rate']:.1%}", f"{found['mean_tokens']:.0f}"]) + " |"


def answer_texts() -> list[str]:
    engine, tokenizer = load_engine(ASSET, "cpu", "float32", max_concurrent=512)
    problems = load_problems([PromptSource.model_validate(world) for world in WORLDS])
    params = sampling_params(Sampling(), seed=1, max_tokens=LENGTH)
    return [c.text for group in ask(engine, tokenizer, problems, "r1-zero", 16, params) for c in group]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run that made the installed weights")
    made = json.loads((parser.parse_args().run / "stages/base/artifact.json").read_text())
    settings = {"paper's protocol: T 0.6, top-p 0.95": (0.6, 0.95), "as in training: T 1": (1.0, 1.0)}
    rows = []
    for name, (temperature, top_p) in settings.items():
        found = evaluate(
            "sprout-base", {"sprout": WORLDS}, samples=64, temperature=temperature, top_p=top_p, max_completion_length=LENGTH
        )
        rows.append(row(name, found["benchmarks"]["sprout"]))
    texts = answer_texts()
    shares = [share for share in map(chinese_share, texts) if share is not None]
    weights = ASSET / "model.safetensors"
    card = CARD.format(
        parameters=parameter_count(),
        seed=made["seed"],
        tokens=made["summary"]["tokens"],
        minutes=made["seconds"] / 60,
        machine=describe(),
        date=today(),
        identity=made["identity"],
        megabytes=weights.stat().st_size / 1e6,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        rows="\n".join(rows),
        chinese=sum(share > 0.5 for share in shares) / len(texts),
        mixed=sum(0.05 < share < 0.95 for share in shares) / len(shares),
        reflective=sum(reflective_words(text) > 0 for text in texts) / len(texts),
    )
    (ASSET / "README.md").write_text(card, encoding="utf-8")
    print(card)


def parameter_count() -> int:
    from r1kit.model.hf_config import read_config

    return read_config(ASSET).parameter_count()


if __name__ == "__main__":
    main()
