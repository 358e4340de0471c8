"""Sample completions of prompts with an engine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from r1kit.config import Prompting, Sampling
from r1kit.console import heartbeat, warn
from r1kit.data.prompt import Prompt, make_prompt
from r1kit.data.template import use_chat_template
from r1kit.engine.base import Engine, Finished, Request, SamplingParams
from r1kit.engine.factory import load_live_engine
from r1kit.engine.live.base import LiveRequest
from r1kit.errors import UserError
from r1kit.types import Completion, Problem


def sample_completions(
    engine: Engine,
    prompts: Sequence[Prompt],
    samples: int,
    params: SamplingParams,
    on_finished: Finished | None = None,
) -> list[list[Completion]]:
    """Return `samples` completions of every prompt, grouped by prompt.

    A problem that occurs several times gets different completions each time.

    Args:
        engine: The rollout engine.
        prompts: One prompt for each group.
        samples: Completions per prompt.
        params: Sampling parameters and seed.
        on_finished: Called with each completion as soon as it is finished, while others are still being sampled.
    """
    with heartbeat(f"sampling {samples} completions of each of {len(prompts)} prompts"):
        completions = engine.generate(_requests(prompts, samples), params, on_finished)
    return [completions[i : i + samples] for i in range(0, len(completions), samples)]


def sample_groups(
    engine: Engine, prompts: Sequence[Prompt], samples: int, params: SamplingParams
) -> Iterator[tuple[Prompt, list[Completion]]]:
    """Yield every prompt with its completions as soon as they are finished, while others are still being sampled.

    The completions are those of `sample_completions`. Groups are not kept, so there may be any number of prompts.
    """
    groups: defaultdict[int, list[Completion]] = defaultdict(list)
    for index, completion in engine.finished(_requests(prompts, samples), params) if prompts else ():
        groups[index].append(completion)
        if len(groups[index]) == samples:
            yield prompts[index], sorted(groups.pop(index), key=lambda completion: completion.sample)


def _requests(prompts: Sequence[Prompt], samples: int) -> list[Request]:
    occurrences: Counter[str] = Counter()
    requests = []
    for prompt in prompts:
        prompt_id = prompt.problem.id
        requests.append(Request(prompt_id, prompt.token_ids, samples, occurrences[prompt_id] * samples, prompt.problem))
        occurrences[prompt_id] += 1
    return requests


def sampling_params(config: Sampling, seed: int, max_tokens: int) -> SamplingParams:
    """Return the engine's parameters for a recipe's sampling keys."""
    return SamplingParams(seed, max_tokens, config.temperature, config.top_p, config.top_k, tuple(config.stop))


class Piece(NamedTuple):
    """The next piece of the text of a completion."""

    question: int  # from 0
    sample: int  # from 0
    text: str


def stream_samples(
    model_dir: Path,
    questions: Sequence[str],
    style: Prompting,
    sampling: Sampling,
    n: int,
    max_completion_length: int,
    seed: int,
    device: str,
    dtype: str,
) -> Iterator[Piece]:
    """Yield `n` completions of each question in pieces, as they are generated, one completion after the other.

    A completion does not depend on the other questions, and is that of `r1kit serve` with the same seed.
    """
    engine, tokenizer = load_live_engine(model_dir, device, dtype)
    use_chat_template(tokenizer, style.template)
    for number, question in enumerate(questions):
        prompt = make_prompt(Problem(id="question", question=question, answer=""), style, tokenizer)
        room = max(1, engine.context_length - len(prompt.token_ids))
        params = sampling_params(sampling, seed, min(max_completion_length, room))
        if room < max_completion_length:
            warn(
                f"the prompt has {len(prompt.token_ids):,} of the model's {engine.context_length:,} positions: "
                f"completions end after {room:,} tokens"
            )
        for index in range(n):
            token_ids: list[int] = []
            shown = ""
            engine.add(LiveRequest("sample", prompt.token_ids, params, first_sample=index, prompt_id=prompt.problem.id))
            while engine.has_work:
                for delta in engine.step():
                    if delta.error:
                        raise UserError(delta.error)
                    token_ids += delta.token_ids
                text = str(tokenizer.decode(token_ids, skip_special_tokens=True))
                if not text.endswith("\ufffd"):  # else the last character is incomplete
                    yield Piece(number, index, text[len(shown) :])
                    shown = text
