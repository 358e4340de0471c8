"""A live engine with vLLM in this process. Its scheduler decides what runs; constraints are its structured outputs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from r1kit.engine.live.base import ConstraintError, LiveDelta, LiveRequest, check_request
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.live.vllm_samples import Step, asked_of, extend, structure
from r1kit.engine.vllm.errors import check_version
from r1kit.engine.vllm.local import WHERE, LocalVllm
from r1kit.errors import UserError


class VllmLiveEngine:
    """Decodes with the `LLM` of a rollout engine, which has a copy of the weights."""

    def __init__(self, engine: LocalVllm) -> None:
        """Take an engine; constraints need one that was made with a tokenizer."""
        self.engine, self.tokenizer, self.vocabulary = engine, engine.tokenizer, engine.vocabulary
        self.context_length = engine.max_model_len
        self.running: dict[str, LiveSample] = {}  # by vLLM's name
        self.requests = 0

    @property
    def has_work(self) -> bool:
        """See `LiveEngine.has_work`."""
        return bool(self.running)

    def add(self, request: LiveRequest) -> None:
        """See `LiveEngine.add`."""
        check_request(request, self.context_length, self.vocabulary)
        self.requests += 1
        sampling, added = import_module("vllm.sampling_params"), dict[str, LiveSample]()
        try:
            for index in range(request.first_sample, request.first_sample + request.samples):
                asked = asked_of(self.engine, request, index)
                if (structured := structure(request.constraint)) is not None:
                    asked["structured_outputs"] = sampling.StructuredOutputsParams(**structured)
                params = sampling.SamplingParams(**asked, output_kind=sampling.RequestOutputKind.DELTA)
                name = f"{self.requests}/{index}"
                prompt = {"prompt_token_ids": list(request.token_ids)}
                self.engine.llm.llm_engine.add_request(name, prompt, params)
                added[name] = LiveSample(self.requests, request.prompt_id, index, asked=request)
        except UserError:
            raise
        except (ValueError, import_module("vllm.exceptions").VLLMValidationError) as error:  # of a constraint
            self.engine.llm.llm_engine.abort_request([*added])
            raise ConstraintError(f"vLLM refuses the request: {error}") from error
        self.running |= added

    def cancel(self, request_id: str) -> None:
        """See `LiveEngine.cancel`."""
        names = [name for name, sample in self.running.items() if sample.asked.id == request_id]
        self.engine.llm.llm_engine.abort_request(names)
        for name in names:
            del self.running[name]

    def step(self) -> list[LiveDelta]:
        """See `LiveEngine.step`."""
        deltas = []
        for output in self.engine.llm.llm_engine.step():
            if (sample := self.running.get(output.request_id)) is None:  # cancelled
                continue
            self._extend(sample, output.outputs[0])
            if output.finished and sample.finish_reason(self.engine.stops) is None:
                sample.error = RuntimeError(f"vLLM ended the request: {output.outputs[0].finish_reason}")
            if sample.finish_reason(self.engine.stops) is not None:
                del self.running[output.request_id]
                if not output.finished:
                    self.engine.llm.llm_engine.abort_request([output.request_id])
            if (delta := sample.delta(self.engine.stops)) is not None:
                deltas.append(delta)
        return deltas

    def close(self) -> None:
        """See `LiveEngine.close`."""
        self.engine.llm.llm_engine.abort_request([*self.running])
        self.running.clear()

    def _extend(self, sample: LiveSample, output: Any) -> None:
        for span in output.weight_versions or ():
            check_version(span.version, str(self.engine.version), WHERE)
        steps = []
        for token, each in zip(output.token_ids, output.logprobs or (), strict=True):
            ranked = sorted(each.items(), key=lambda item: item[1].rank)
            steps.append(Step(token, each[token].logprob, [(other, x.logprob) for other, x in ranked]))
        extend(sample, steps, self.tokenizer)
