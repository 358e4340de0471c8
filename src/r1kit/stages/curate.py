"""The curate stage: a model's own answers, judged, filtered and chosen from, as data for the stages after it.

    prompts -> answers -> a reason against each, or none -> rewritten -> chosen -> mixed -> data/kept.jsonl

Answers are a pure function of the seed, the prompt and their number, and are worked on in blocks of prompts; a block
is on disk whole or not at all. So a stage that was killed goes on with the first block that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1kit.config import Curate
from r1kit.console import progress, say
from r1kit.data.examples import conversation, read_sources
from r1kit.data.pairs import Pair, match_lengths
from r1kit.data.problems import load_problems
from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.data.template import opens_think, render_prompt
from r1kit.engine.factory import load_engine
from r1kit.evals.contamination import Contamination, squeeze
from r1kit.evals.curation import Row, card_of, card_text, choose, mix
from r1kit.evals.runner import load_benchmarks
from r1kit.files import write_bytes, write_json
from r1kit.hashing import derive_seed
from r1kit.rollout.ask import ask, sampling_params
from r1kit.stages.context import StageContext
from r1kit.stages.examine import Examiner, examiner
from r1kit.types import Completion, Problem

BLOCK = 64  # prompts whose answers are sampled, judged and saved together


def run(config: Curate, context: StageContext) -> dict[str, Any]:
    """Sample, judge and choose; publish data/. The summary is the card's counts."""
    problems = load_problems(config.prompts, answered=config.makes == "records")
    known = Contamination(load_benchmarks(config.benchmarks), config.ngram)
    with examiner(config, context, problems) as examine:
        rows = list(_sampled(config, context, problems, known, examine))
    mixed: list[Row] = []
    if config.makes == "records":
        rows = choose(rows, config.keep, context.seed)
        others = list(_others(config, context, known))
        kept = sum(not row["reason"] for row in rows)
        mixed = mix(others, kept, config.data_share, context.seed)
        rows += [row for row in others if row["reason"]]
    elif config.makes == "pairs":
        rows = _with_matched_lengths(rows, context.seed)
    return _publish(config, context, rows, mixed)


def _sampled(
    config: Curate, context: StageContext, problems: Sequence[Problem], known: Contamination, examine: Examiner
) -> Iterator[Row]:
    """The judged answers to all prompts, or to as many as the budget allows."""
    asking: _Asking | None = None
    spent = 0
    with progress(context.name, len(problems)) as bar:
        for number, start in enumerate(range(0, len(problems), BLOCK)):
            if config.token_budget is not None and spent >= config.token_budget:
                say(f"{context.name}: {spent} tokens are sampled, so {len(problems) - start} prompts are not asked")
                return
            path = context.dir / "checkpoints" / f"block_{number:06d}.jsonl"
            block = problems[start : start + BLOCK]
            if not path.exists():
                asking = asking or _Asking(config, context)
                write_jsonl(path, asking.block(block, known, examine))
            rows = list(read_rows(path))
            spent += sum(row["tokens"] for row in rows)
            bar.advance(len(block), kept=sum(not row["reason"] for row in rows), tokens=spent)
            yield from rows


class _Asking:
    """The model at work: loaded once there is something to ask."""

    def __init__(self, config: Curate, context: StageContext) -> None:
        self.config = config
        model, concurrent = context.models[config.model], context.max_concurrent
        self.engine, self.tokenizer = load_engine(model, context.device, context.dtype, concurrent)
        seed = derive_seed(context.seed, "curate")
        self.params = sampling_params(config, seed, config.max_completion_length)

    def block(self, problems: Sequence[Problem], known: Contamination, examine: Examiner) -> list[Row]:
        """Rows of every answer to some prompts; a prompt that stands in an evaluation set is not asked."""
        found = {problem.id: known.find(problem.question) for problem in problems}
        clean = [problem for problem in problems if found[problem.id] is None]
        template, samples = self.config.template, self.config.samples
        answers = ask(self.engine, self.tokenizer, clean, template, samples, self.params) if clean else []
        asked = dict(zip((problem.id for problem in clean), answers, strict=True))
        rows: list[Row] = []
        for problem in problems:
            about = {"prompt_id": problem.id, "prompt": problem.question, "domain": problem.family or "other"}
            about |= {"language": problem.language, "level": problem.level}
            if problem.id not in asked:
                nothing = {"samples": 0, "tokens": 0, "length": 0, "response": ""}
                rows.append({**about, **nothing, "reason": "contaminated", "benchmark": found[problem.id]})
                continue
            for row in examine(problem, self._complete(problem, asked[problem.id]), self.tokenizer):
                offered = [row[key] for key in ("response", "chosen", "rejected") if key in row]
                lengths = [len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in offered]
                if not row["reason"] and (benchmark := known.find(*offered)) is not None:
                    row |= {"reason": "contaminated", "benchmark": benchmark}
                rows.append({**about, **row, "length": sum(lengths)})
        return rows

    def _complete(self, problem: Problem, group: Sequence[Completion]) -> list[tuple[Completion, str]]:
        """Completions, and each as a response that opens its own think tag."""
        opened = opens_think(render_prompt(problem.question, self.config.template, self.tokenizer))
        return [(one, f"<think>{one.text}" if opened else one.text.lstrip()) for one in group]


def _with_matched_lengths(rows: Sequence[Row], seed: int) -> list[Row]:
    """What `match_lengths` leaves out has that as its reason."""
    fit = [i for i, row in enumerate(rows) if not row["reason"]]
    pairs = [Pair(rows[i]["prompt"], rows[i]["chosen"], rows[i]["rejected"]) for i in fit]
    matched = set(map(id, match_lengths(pairs, seed)))
    out = {i for i, pair in zip(fit, pairs, strict=True) if id(pair) not in matched}
    return [{**row, "reason": "length"} if i in out else row for i, row in enumerate(rows)]


def _others(config: Curate, context: StageContext, known: Contamination) -> Iterator[Row]:
    """Records from elsewhere, as they are, with a reason against those that must not be used."""
    seen = set()
    for where, record in read_sources(context.data.get(source, source) for source in config.data):
        messages, answer = conversation(record, where)
        texts = [*(message["content"] for message in messages), answer]
        said = tuple(map(squeeze, texts))
        reason = "contaminated" if known.find(*texts) else "duplicate" if said in seen else ""
        seen.add(said)
        row = {"prompt_id": where, "domain": str(record.get("domain") or "general"), "reason": reason}
        row |= {"samples": 0, "tokens": 0, "length": 0}
        if len(messages) == 1:
            yield {**row, "prompt": texts[0], "response": answer}
        else:
            yield {**row, "messages": [*messages, {"role": "assistant", "content": answer}]}


def _publish(config: Curate, context: StageContext, rows: Sequence[Row], mixed: Sequence[Row]) -> dict[str, Any]:
    card = card_of(rows, mixed)
    made = config.model_dump(mode="json", include={"makes", "samples", "temperature", "data_share", "ngram"})
    made |= {"stage": context.name, "model": config.model, "seed": context.seed, "benchmarks": list(config.benchmarks)}
    for helper in ("rewriter", "judge"):
        asked = getattr(config, helper)
        made[helper] = asked if asked is None or isinstance(asked, str) else asked.model
    card = {"made": made, **card}
    if not card["kept"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in card["rejected"].items())
        raise DataError(
            f"{context.name}: not one of {card['sampled']} answers can be used ({reasons}). Give it a model that "
            f"answers better, more samples, or other prompts. They are in {context.dir / 'checkpoints'}"
        )
    data = context.dir / "data"
    write_jsonl(data / "kept.jsonl", [_record(row) for row in [*rows, *mixed] if not row["reason"]])
    write_jsonl(data / "rejected.jsonl", [row for row in rows if row["reason"]])
    write_json(data / "card.json", card)
    write_bytes(data / "card.md", card_text(card).encode())
    return {key: card[key] for key in ("sampled", "kept", "mixed_in", "records", "rejected")}


def _record(row: Row) -> Mapping[str, Any]:
    return {key: value for key, value in row.items() if key not in ("reason", "samples", "tokens", "length")}
