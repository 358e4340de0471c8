"""Evaluate sprout-base and write its model card.

python benchmarks/model_card.py runs/sprout-base
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from machine import describe, today

from r1kit import evaluate
from r1kit.config import Prompting, PromptSource, Sampling
from r1kit.data.problems import load_problems
from r1kit.data.prompt import make_prompts
from r1kit.engine.factory import load_engine
from r1kit.evals.style import CJK, LATIN_WORD, reflective_words
from r1kit.model.hf_config import read_config
from r1kit.rollout.sample import sample_completions, sampling_params

ASSET = Path(__file__).parents[1] / "src" / "r1kit" / "assets" / "sprout-base"
LENGTH = 160
FAMILIES = ("arithmetic", "countdown", "logic")
STAGES = ("textbook", "exercises", "base")
GENERAL = ("talk", "writing", "safety")
WORLDS = [{"source": f"world:{name}", "split": "held_out", "limit": 50} for name in FAMILIES]
CARD = """---
license: mit
library_name: transformers
language: [en, zh]
---
# sprout-base

The base model of r1kit's sprout world: a Llama checkpoint of {parameters:,} parameters, pretrained by r1kit's own
`pretrain` stage. It can solve the world's problems but rarely does. It knows some 150 facts and a
few words of two languages, rarely keeps rules and helps with anything.

- Made by: `make sprout-base` (recipe `recipes/sprout-base.toml`, seed 0), {tokens:,} tokens, {minutes:.0f} minutes
- Machine and date: {machine}; {date}
- Identity of its stage: `{identity}`
- model.safetensors: {megabytes:.1f} MB, sha256 `{sha256}`

Not trained on: the R1-Zero template, held-out problems and general prompts, their answers.

Measured by `python benchmarks/model_card.py RUN`: {problems} held-out problems in the R1-Zero template,
16 samples each.

| sampling | pass@1 | 95 % interval | pass@16 | cons@16 | format rate | mean tokens |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Of {answers:,} completions at temperature 1, {chinese:.1%} are mostly in Chinese, {mixed:.1%} of those with words mix
both languages, and {reflective:.1%} contain a reflective word ("wait", "等等").

Right replies to general prompts in held-out wordings ([kinds](../../../../docs/sprout.md#general-prompts)), in the
R1-Zero template, by the paper's protocol with 4 samples each: {general}.
"""


def measured(name: str, model: str, temperature: float, top_p: float) -> str:
    """Return one row of the card's table."""
    sampling = {"samples": 16, "temperature": temperature, "top_p": top_p, "max_completion_length": LENGTH}
    summary = evaluate(model, {"sprout": WORLDS}, **sampling)["benchmarks"]["sprout"]
    low, high = summary["ci95"]
    shares = (f"{summary[key]:.1%}" for key in ("pass@16", "cons@16", "format_rate"))
    cells = [name, f"{summary['pass@1']:.1%}", f"{low:.1%} - {high:.1%}", *shares, f"{summary['mean_tokens']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def general(model: str) -> str:
    """Return the share of right replies to held-out general prompts, by kind."""
    prompts = [{"source": f"world:{name}", "split": "held_out", "limit": 150} for name in GENERAL]
    sampling = {"samples": 4, "temperature": 0.6, "top_p": 0.95, "max_completion_length": LENGTH}
    kinds = evaluate(model, {"general": prompts}, **sampling)["benchmarks"]["general"]["by_family"]
    return ", ".join(f"{kind} {summary['pass@1']:.1%}" for kind, summary in kinds.items())


def chinese_share(text: str) -> float | None:
    """Return the share of words that are Chinese; None without words."""
    chinese, latin = len(CJK.findall(text)), len(LATIN_WORD.findall(text))
    return chinese / (chinese + latin) if chinese + latin else None


def answer_texts() -> list[str]:
    engine, tokenizer = load_engine(ASSET, "cpu", "float32", max_concurrent=512)
    problems = load_problems([PromptSource.model_validate(world) for world in WORLDS])
    params = sampling_params(Sampling(), seed=1, max_tokens=LENGTH)
    prompts = make_prompts(problems, Prompting(), tokenizer)
    return [c.text for group in sample_completions(engine, prompts, 16, params) for c in group]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run that produced the installed weights")
    run = parser.parse_args().run
    stages = [json.loads((run / f"stages/{name}/artifact.json").read_text()) for name in STAGES]
    exercises = str(run / "stages/exercises/model")
    rows = [
        measured("paper's protocol: T 0.6, top-p 0.95", "sprout-base", 0.6, 0.95),
        measured("training: T 1", "sprout-base", 1.0, 1.0),
        measured("before the web text: T 0.6, top-p 0.95", exercises, 0.6, 0.95),
    ]
    texts = answer_texts()
    shares = [share for share in map(chinese_share, texts) if share is not None]
    weights = ASSET / "model.safetensors"
    card = CARD.format(
        parameters=read_config(ASSET).parameter_count(),
        tokens=sum(stage["summary"]["tokens"] for stage in stages),
        minutes=sum(stage["seconds"] for stage in stages) / 60,
        machine=describe(),
        date=today(),
        identity=stages[-1]["identity"],
        megabytes=weights.stat().st_size / 1e6,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        rows="\n".join(rows),
        general=general("sprout-base"),
        problems=len(texts) // 16,
        answers=len(texts),
        chinese=sum(share > 0.5 for share in shares) / len(texts),
        mixed=sum(0.05 < share < 0.95 for share in shares) / len(shares),
        reflective=sum(reflective_words(text) > 0 for text in texts) / len(texts),
    )
    (ASSET / "README.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
