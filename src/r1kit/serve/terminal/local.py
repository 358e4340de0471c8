"""Answers of a model that is loaded here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from r1kit.engine.base import EngineChoice, SamplingParams
from r1kit.engine.live.base import LiveRequest
from r1kit.errors import UserError
from r1kit.serve import load
from r1kit.serve.calling.parser import call_entry
from r1kit.serve.limits import Limits
from r1kit.serve.requests import ChatRequest
from r1kit.serve.sample import Sample
from r1kit.serve.terminal.conversation import Message, Piece, Settings
from r1kit.tools.base import Tool
from r1kit.web.refusal import Refused

ID = "answer"  # of the only request


class LocalModel:
    """A model, loaded for one answer at a time.

    Args:
        model: A bundled model, a directory, a stage of a run or a hub id.
        template: The prompt template; by default that of the tokenizer.
        chat_template: A chat template in place of the tokenizer's: the name of a bundled one, or a file.

    Raises:
        UserError: The model cannot be loaded, or has no such template.
    """

    def __init__(self, model: str, template: str | None = None, chat_template: str | None = None) -> None:
        limits, chosen = Limits(max_concurrent=1), load.parse_template(template)
        text = load.read_chat_template(chat_template)
        (self._model,) = load.load_models({model: model}, chosen, EngineChoice("native"), limits, text)

    @property
    def reads_conversations(self) -> bool:
        """Whether the template shows the system prompt and earlier turns."""
        return self._model.reads_conversations

    def stream(
        self, messages: Sequence[Message], settings: Settings, seed: int, tools: Sequence[Tool]
    ) -> Iterator[Piece]:
        """Yield an answer as it grows. See `Backend.stream`."""
        model, engine = self._model, self._model.engine
        definitions = [tool.definition() for tool in tools]
        try:
            asked = ChatRequest.model_validate({"model": model.name, "messages": messages, "tools": definitions})
            prompt, calling = model.chat_prompt(asked.messages, definitions), model.calling(asked)
        except Refused as refused:
            raise UserError(refused.message) from None
        max_tokens = settings.max_tokens or engine.context_length - len(prompt.token_ids)
        params = SamplingParams(seed, max_tokens, settings.temperature, settings.top_p)
        reader = None if calling is None else calling.parser()
        constraint = None if calling is None else prompt.begun(calling.constraint)
        sample = Sample(0, model.tokenizer, (), prompt.parser(calling), reader)
        engine.add(LiveRequest(ID, prompt.token_ids, params, constraint=constraint))
        try:
            while engine.has_work:
                for delta in engine.step():
                    if delta.finish_reason == "error":
                        raise UserError(str(delta.error))
                    piece = sample.add(delta)
                    calls = tuple(map(call_entry, piece.calls))
                    yield Piece(piece.reasoning, piece.content, calls, (), piece.finish_reason, sample.length)
        finally:
            engine.cancel(ID)
