"""Sample completions of problems from a model behind an OpenAI-compatible endpoint.

With the template "chat" the endpoint renders the prompt (`/chat/completions`). Other templates are rendered here, and
the endpoint continues the text (`/completions`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from r1kit.config import Prompting
from r1kit.console import ProgressBar, duration, number, progress, say
from r1kit.data.prompt import Prompt
from r1kit.data.template import asks_for_answer_tags, opens_think, render_prompt
from r1kit.engine.base import SamplingParams
from r1kit.errors import UserError
from r1kit.hashing import derive_seed
from r1kit.rewards.judge.answer import Answer
from r1kit.rewards.judge.client import Client
from r1kit.rewards.judge.endpoint import Endpoint, EndpointError
from r1kit.types import Completion, Problem

SEEDS = 2**31  # endpoints take seeds below this


class EndpointModel:
    """A model behind an endpoint. Completions carry their number of tokens, not the tokens.

    Args:
        endpoint: The endpoint. With a cache, completions that it holds are not sampled again.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint)
        self._usage: dict[str, float] = {}
        self._seconds = 0.0  # spent on sampling

    def sample(
        self, problems: Sequence[Problem], style: Prompting, samples: int, params: SamplingParams
    ) -> tuple[list[Prompt], list[list[Completion]]]:
        """Return the prompts of problems, and `samples` completions of each.

        Raises:
            UserError: The endpoint gave no answer to a request after all tries. No completion is left out.
        """
        prompts = [_prompt(problem, style) for problem in problems]
        places = [(prompt, sample) for prompt in prompts for sample in range(samples)]
        requests = [_request(prompt, sample, style, params) for prompt, sample in places]
        completions: dict[int, Completion] = {}
        start = time.monotonic()
        with progress(f"sampling from {self._client.endpoint.model}", len(requests)) as bar:

            def keep(index: int, answer: Answer | EndpointError) -> None:
                if isinstance(answer, EndpointError):
                    raise UserError(self._advice(answer, style))
                prompt, sample = places[index]
                completions[index] = _completion(prompt, sample, answer)
                self._show(bar, time.monotonic() - start)

            self._client.complete_all(requests, keep)
        self._seconds += time.monotonic() - start
        ordered = [completions[index] for index in range(len(requests))]
        return prompts, [ordered[i : i + samples] for i in range(0, len(ordered), samples)]

    def report_usage(self) -> None:
        """Print what all requests took: retries, tokens, rate and cost. Completions from the cache cost nothing."""
        used, rate = self._usage, self._usage.get("completion_tokens", 0.0) / max(self._seconds, 1e-9)
        parts = [f"{number(int(used.get('requests', 0)))} requests ({number(int(used.get('retries', 0)))} retries)"]
        parts += [f"{number(int(used['cached']))} completions kept from before"] if used.get("cached") else []
        prompt, completion = (number(int(used.get(f"{kind}_tokens", 0))) for kind in ("prompt", "completion"))
        parts += [f"{prompt} prompt tokens, {completion} completion tokens", f"{duration(self._seconds)}"]
        parts += [f"{number(rate)} completion tokens per second"]
        endpoint = self._client.endpoint
        if endpoint.prompt_price or endpoint.completion_price:
            parts.append(f"cost {used.get('cost', 0.0):.4g}")
        say(f"{endpoint.model} at {endpoint.base_url}: {'; '.join(parts)}")

    def _show(self, bar: ProgressBar, seconds: float) -> None:
        """Count one completion as done, and show the rate and the cost so far."""
        for name, amount in self._client.take_usage().items():
            self._usage[name] = self._usage.get(name, 0.0) + amount
        rate = self._usage.get("completion_tokens", 0.0) / max(self._seconds + seconds, 1e-9)
        cost = self._usage.get("cost")
        bar.advance(1, **{"tokens/s": rate}, **({"cost": cost} if cost else {}))

    def _advice(self, error: EndpointError, style: Prompting) -> str:
        raw = "" if style.template == "chat" else f" Template {style.template} needs /completions; try --template chat."
        return f"{error}.{raw} Finished completions are kept: the same command or run continues after them"


def _prompt(problem: Problem, style: Prompting) -> Prompt:
    text = (problem.prompt or problem.question) + style.prompt_suffix
    if style.template != "chat":
        text = render_prompt(text, style.template, None)
    return Prompt(problem, text, (), opens_think(text), asks_for_answer_tags(style.template), "<think>" in text)


def _request(prompt: Prompt, sample: int, style: Prompting, params: SamplingParams) -> dict[str, Any]:
    """Return the parameters of the API for one completion. Each has a seed of its own."""
    asked: Mapping[str, Any] = {"prompt": prompt.text}
    if style.template == "chat":
        system = [{"role": "system", "content": style.system_prompt}] if style.system_prompt else []
        asked = {"messages": [*system, {"role": "user", "content": prompt.text}]}
    return {
        **asked,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_tokens,
        "seed": derive_seed(params.seed, prompt.problem.id, sample) % SEEDS,
        **({"top_k": params.top_k} if params.top_k else {}),
        **({"stop": list(params.stop), "include_stop_str_in_output": True} if params.stop else {}),
    }


def _completion(prompt: Prompt, sample: int, answer: Answer) -> Completion:
    return Completion(
        prompt_id=prompt.problem.id,
        sample=sample,
        token_ids=(),
        logprobs=(),
        text=answer.full_text,
        finish_reason="length" if answer.finish_reason == "length" else "stop",
        counted=answer.completion_tokens,
        counted_thinking=answer.reasoning_tokens,
    )
