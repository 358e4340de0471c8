"""Sample completions of problems with an engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from r1kit.config import Sampling, Template
from r1kit.data.template import render_prompt
from r1kit.engine.base import Engine, Finished, Request, SamplingParams
from r1kit.engine.factory import load_engine
from r1kit.types import Completion, Problem


def ask(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    template: Template,
    samples: int,
    params: SamplingParams,
    finished: Finished | None = None,
) -> list[list[Completion]]:
    """`samples` completions of every problem, grouped by problem. A problem asked twice is answered anew.

    finished: told of each completion once it is whole.
    """
    asked: Counter[str] = Counter()
    requests = []
    for problem in problems:
        first_sample = asked[problem.id] * samples
        requests.append(Request(problem.id, prompt_ids(problem, template, tokenizer), samples, first_sample))
        asked[problem.id] += 1
    flat = engine.generate(requests, params, finished)
    return [flat[i : i + samples] for i in range(0, len(flat), samples)]


def prompt_ids(problem: Problem, template: Template, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens of a problem's prompt. A template writes its own special tokens; plain text has none."""
    prompt = render_prompt(problem.question, template, tokenizer)
    return tuple(tokenizer.encode(prompt, add_special_tokens=False))


def sampling_params(config: Sampling, seed: int, max_tokens: int) -> SamplingParams:
    """What a recipe's sampling keys mean to an engine."""
    return SamplingParams(seed, max_tokens, config.temperature, config.top_p, config.top_k)


def stream_samples(
    model_dir: Path,
    question: str,
    template: Template,
    sampling: Sampling,
    n: int,
    max_completion_length: int,
    seed: int,
    device: str,
    dtype: str,
) -> Iterator[str]:
    """The text of `n` answers to one question, piece by piece as it is written; answers are parted by a blank line."""
    engine, tokenizer = load_engine(model_dir, device, dtype, max_concurrent=1)
    problem = Problem(id="question", question=question, answer="")
    params = sampling_params(sampling, seed, max_completion_length)
    for index in range(n):
        pieces: list[int] = []
        shown = ""
        if index:
            yield "\n\n"
        request = Request(problem.id, prompt_ids(problem, template, tokenizer), 1, index)
        for delta in engine.stream([request], params):
            pieces += delta.token_ids
            text = tokenizer.decode(pieces, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # a character whose bytes are not all there yet
                yield text[len(shown) :]
                shown = text
