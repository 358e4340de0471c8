"""The curate stage: turn a model's own completions into training data.

    prompts -> completions -> reviewed -> (rewritten) -> chosen -> mixed with other data -> data/kept.jsonl

Completions are a pure function of the seed, the prompt and the sample index. They are reviewed while others are still
being sampled. Blocks of prompts are written to disk atomically as soon as all of their completions are reviewed, so an
interrupted stage resumes with the missing blocks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from r1kit.config import Curate, Service
from r1kit.console import heartbeat, progress, say
from r1kit.data.examples import conversation, episode_of, read_sources, row_prompt
from r1kit.data.pairs import Pair, match_lengths
from r1kit.data.problems import load_problems
from r1kit.data.prompt import Prompt, make_prompts
from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.data.template import use_chat_template
from r1kit.engine.base import Engine
from r1kit.engine.factory import load_engine
from r1kit.evals.benchmark import load_benchmarks
from r1kit.evals.contamination import Contamination, normalize
from r1kit.evals.curation import Card, Made, Review, Row, card_text, choose, count, make_row, mix, texts_of
from r1kit.evals.filters import REASONS
from r1kit.files import write_bytes, write_json
from r1kit.hashing import derive_seed
from r1kit.rewards.services import Settings
from r1kit.rollout.episodes import in_environment, with_tools
from r1kit.rollout.sample import sample_groups, sampling_params
from r1kit.stages.background import in_background
from r1kit.stages.context import StageContext
from r1kit.stages.curate_review import Reviewer, open_reviewer
from r1kit.types import Completion, Problem

BLOCK = 64  # prompts that are written together
WINDOW = 64 * BLOCK  # prompts that are tokenized together; only the end of a window waits for its longest completion


def run(config: Curate, context: StageContext) -> dict[str, Any]:
    """Sample, review and choose; publish data/. Return the main counts of the data card."""
    problems = load_problems(config.prompts, answered=config.makes == "records")
    benchmarks = load_benchmarks(config.benchmarks)
    with heartbeat("indexing the benchmarks"):
        contamination = Contamination(benchmarks, config.ngram)
    with open_reviewer(config, context, problems) as review:
        rows = list(_sample(config, context, problems, contamination, review))
    mixed: list[Row] = []
    if config.makes == "records":
        rows = choose(rows, config.keep, context.seed)
        with heartbeat("comparing the other records with the benchmarks"):
            others = list(_other_rows(config, context, contamination))
        kept = sum(not row["reason"] for row in rows)
        mixed = mix(others, kept, config.data_share, context.seed)
        rows += [row for row in others if row["reason"]]
    elif config.makes == "pairs":
        rows = _match_lengths(rows, context.seed)
    return _publish(config, context, rows, mixed)


def _sample(
    config: Curate,
    context: StageContext,
    problems: Sequence[Problem],
    contamination: Contamination,
    review: Reviewer,
) -> Iterator[Row]:
    """Yield the reviewed rows of all prompts, or of as many as the token budget allows."""
    starts = range(0, len(problems), BLOCK)
    paths = [context.files.checkpoints / f"block_{number:06d}.jsonl" for number in range(len(starts))]
    blocks = {path: problems[start : start + BLOCK] for path, start in zip(paths, starts, strict=True)}
    sampler = _Sampler(config, context, contamination, review)
    spent = done = 0
    with progress(context.name, len(problems)) as bar:
        for path in sampler.written(blocks):
            if config.token_budget is not None and spent >= config.token_budget:
                say(f"{context.name}: {spent} tokens sampled, {len(problems) - done} prompts left out (token_budget)")
                return
            rows = [cast(Row, row) for row in read_rows(path, may_be_empty=True)]
            done += len(blocks[path])
            spent += sum(row["tokens"] for row in rows)
            bar.advance(len(blocks[path]), kept=sum(not row["reason"] for row in rows), tokens=spent)
            yield from rows


class _Sampler:
    """Samples and reviews completions, with a model that is loaded when it is first needed."""

    def __init__(self, config: Curate, context: StageContext, contamination: Contamination, review: Reviewer) -> None:
        self.config, self.context, self.contamination, self.review = config, context, contamination, review
        self.params = sampling_params(config, derive_seed(context.seed, "curate"), config.max_completion_length)
        self.loaded: tuple[Engine, PreTrainedTokenizerBase] | None = None

    def written(self, blocks: Mapping[Path, Sequence[Problem]]) -> Iterator[Path]:
        """Yield the files of all blocks in order. Those that do not exist are written, in the order of completion."""
        paths = list(blocks)
        for start in range(0, len(paths), WINDOW // BLOCK):
            window = paths[start : start + WINDOW // BLOCK]
            with closing(self._write({path: blocks[path] for path in window if not path.exists()})) as writing:
                for path in window:
                    while not path.exists():
                        next(writing)
                    yield path

    def _write(self, blocks: Mapping[Path, Sequence[Problem]]) -> Generator[None]:
        """Write every block as soon as all of its prompts are reviewed. Yields after each review."""
        problems = [problem for block in blocks.values() for problem in block]
        block_of = {problem.id: path for path, block in blocks.items() for problem in block}
        rows: dict[str, list[Row]] = {}  # by problem
        for problem, reviews in self._reviewed(problems):
            rows[problem.id] = reviews
            path = block_of[problem.id]
            if all(other.id in rows for other in blocks[path]):
                write_jsonl(path, [row for other in blocks[path] for row in rows.pop(other.id)])
            yield

    def _reviewed(self, problems: Sequence[Problem]) -> Iterator[tuple[Problem, list[Row]]]:
        """Sample and review completions, in any order. Prompts that overlap with a benchmark are not sampled."""
        overlaps = {problem.id: self.contamination.find(problem.question) for problem in problems}
        for problem in problems:
            if (benchmark := overlaps[problem.id]) is not None:
                not_sampled: Review = {"samples": 0, "tokens": 0, "response": "", "reason": "contaminated"}
                yield problem, [make_row(problem, {**not_sampled, "benchmark": benchmark}, length=0)]
        clean = [problem for problem in problems if overlaps[problem.id] is None]
        if not clean:
            return
        engine, tokenizer = self.loaded = self.loaded or self._load()
        prompts = make_prompts(with_tools(engine, clean), self.config, tokenizer)
        groups = sample_groups(engine, prompts, self.config.samples, self.params)
        for prompt, reviews in in_background(self._review, groups, self.review.threads):
            yield prompt.problem, [self._row(prompt.problem, review, tokenizer) for review in reviews]

    def _load(self) -> tuple[Engine, PreTrainedTokenizerBase]:
        engine, tokenizer = load_engine(
            self.context.models[self.config.model],
            self.context.device,
            self.context.dtype,
            self.context.max_concurrent,
            self.context.kv_cache_tokens,
            self.context.engine,
        )
        use_chat_template(tokenizer, self.config.template)
        return in_environment(engine, self.config.environment, Settings.from_dict(self.context.grading)), tokenizer

    def _review(self, group: tuple[Prompt, Sequence[Completion]]) -> tuple[Prompt, list[Review]]:
        return group[0], list(self.review(*group))

    def _row(self, problem: Problem, review: Review, tokenizer: PreTrainedTokenizerBase) -> Row:
        texts = texts_of(review)
        lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
        if not review["reason"] and (benchmark := self.contamination.find(*texts)) is not None:
            review.update({"reason": "contaminated", "benchmark": benchmark})
        return make_row(problem, review, sum(lengths))


def _match_lengths(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows with the reason "length" against the pairs that `match_lengths` leaves out."""
    fit = [i for i, row in enumerate(rows) if not row["reason"]]
    pairs = [Pair(rows[i]["prompt"], rows[i]["chosen"], rows[i]["rejected"]) for i in fit]
    matched = set(map(id, match_lengths(pairs, seed)))
    left_out = {i for i, pair in zip(fit, pairs, strict=True) if id(pair) not in matched}
    return [{**row, "reason": "length"} if i in left_out else row for i, row in enumerate(rows)]


def _other_rows(config: Curate, context: StageContext, contamination: Contamination) -> Iterator[Row]:
    """Yield the records of other sources, with a reason against contaminated and duplicate ones."""
    seen = set()
    for where, record in read_sources(context.data.get(source, source) for source in config.data):
        content, texts = _content(record, where)
        normalized = tuple(map(normalize, texts))
        row: Row = {
            "prompt_id": where,
            "domain": str(record.get("domain") or "general"),
            "reason": "contaminated" if contamination.find(*texts) else "duplicate" if normalized in seen else "",
            "samples": 0,
            "tokens": 0,
            "length": 0,
        }
        seen.add(normalized)
        yield cast(Row, {**row, **content})


def _content(record: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """Return what is trained on of a record, and its texts."""
    if (episode := episode_of(record, where)) is not None:
        kept = {key: record[key] for key in ("messages", "tools") if record.get(key)}
        prompt = row_prompt(record, where)
        return {"prompt": prompt, **kept, "episode": episode}, [prompt, *(message["content"] for message in episode)]
    messages, answer = conversation(record, where)
    texts = [*(message["content"] for message in messages), answer]
    if len(messages) == 1:
        return {"prompt": texts[0], "response": answer}, texts
    return {"messages": [*messages, {"role": "assistant", "content": answer}]}, texts


def _publish(config: Curate, context: StageContext, rows: Sequence[Row], mixed: Sequence[Row]) -> dict[str, Any]:
    card: Card = {"made": _made(config, context), **count(rows, mixed)}
    removed = _removed(card["rejected"])
    if not card["kept"]:
        raise DataError(
            f"{context.name}: none of {card['sampled']} completions can be used. The filters removed{removed}\n"
            f"Use a better model, more samples, or other prompts. The completions are in {context.files.checkpoints}"
        )
    say(f"{context.name}: kept {card['kept']} of {card['sampled']} completions" + (removed and f"; removed{removed}"))
    data = context.files.data
    write_jsonl(context.files.records, [_record(row) for row in [*rows, *mixed] if not row["reason"]])
    write_jsonl(data / "rejected.jsonl", [row for row in rows if row["reason"]])
    write_json(data / "card.json", card)
    write_bytes(data / "card.md", card_text(card).encode())
    return {key: card[key] for key in ("sampled", "kept", "mixed_in", "records", "rejected")}


def _removed(rejected: Mapping[str, int]) -> str:
    """Return what each filter removed, one line each, the most frequent first; "" for nothing."""
    ordered = sorted(rejected.items(), key=lambda item: -item[1])
    explained = {str(reason): text for reason, text in REASONS.items()}
    return "".join(f"\n  {number:>6} {reason}: {explained[reason]}" for reason, number in ordered)


def _made(config: Curate, context: StageContext) -> Made:
    return {
        "temperature": config.temperature,
        "makes": config.makes,
        "samples": config.samples,
        "data_share": config.data_share,
        "ngram": config.ngram,
        "stage": context.name,
        "model": config.model,
        "seed": context.seed,
        "benchmarks": list(config.benchmarks),
        "rewriter": _model_name(config.rewriter),
        "judge": _model_name(config.judge),
    }


def _model_name(helper: Service | str | None) -> str | None:
    return helper.model if isinstance(helper, Service) else helper


def _record(row: Row) -> Mapping[str, object]:
    left_out = ("reason", "samples", "tokens", "length", *(("response",) if "episode" in row else ()))
    return {key: value for key, value in row.items() if key not in left_out}
