"""Read questions and commands, and print answers, until the input ends."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from rich.console import Console

from r1kit.console import complain, printable, say, warn
from r1kit.errors import Interrupted, UserError, message
from r1kit.serve.terminal.conversation import Conversation, Piece, Settings

PROMPT, MORE = "> ", ". "
HELP = """\
/retry           answer the last question again, with another seed
/new             forget the conversation
/system TEXT     set the system prompt; without TEXT, none
/seed N          sample every answer with seed N; without N, each with another one
/temperature X   0 always takes the likeliest token
/top_p X         1 keeps all tokens
/max_tokens N    tokens of an answer, at most; without N, as many as the context allows
/think           show or hide the reasoning
/settings        show the settings
/quit            end; as ^D
^C stops an answer. A backslash at the end of a line continues the question on the next one."""
SHOWN_LINES = 20  # of a call or a result
ENDS = {"length": "cut off; /max_tokens allows more", "stopped": "stopped"}


@dataclass
class Loop:
    """Reads lines from stdin and prints answers on stdout.

    Args:
        conversation: Where questions go.
        shows_reasoning: Whether the reasoning is printed.
        interactive: Whether a person is at the terminal; else stdin is a list of questions, and ^C ends the program.
    """

    conversation: Conversation
    shows_reasoning: bool
    interactive: bool

    def __post_init__(self) -> None:
        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def run(self) -> None:
        """Read until /quit or the end of the input."""
        with _ended_by_sigterm():
            if not self.interactive:
                return self._do_all()
            with suppress(ImportError):  # where there is no readline, input() edits less
                import readline  # noqa: F401  # it changes input()
            alone = "" if self.conversation.backend.reads_conversations else " This model sees one question at a time."
            say(f"Ask a question, or /help.{alone}")
            while True:
                try:
                    return self._do_all()
                except KeyboardInterrupt:  # pressed at the prompt, or when an answer had just ended
                    print()
                    say("/quit or ^D ends")

    def _do_all(self) -> None:
        for line in self._lines():
            if line == "/quit":
                return
            try:
                self._do(line)
            except UserError as error:
                if not self.interactive:
                    raise
                complain(message(error))

    def _lines(self) -> Iterator[str]:
        """Yield questions and commands without surrounding white space; empty lines are left out."""
        while (line := self._read(PROMPT)) is not None:
            while line.endswith("\\") and (more := self._read(MORE)) is not None:
                line = f"{line[:-1]}\n{more}"
            if line.strip():
                yield line.strip()

    def _read(self, prompt: str) -> str | None:
        """Return the next line; None at the end of the input."""
        if not self.interactive:
            line = sys.stdin.readline()
            if any("\ud800" <= character <= "\udfff" for character in line):
                raise UserError("stdin: a line is not UTF-8 text")
            return line.removesuffix("\n") if line else None
        try:
            return input(prompt)
        except EOFError:
            print()
            return None

    def _do(self, line: str) -> None:
        """Answer a question, or obey a command."""
        if not line.startswith("/"):
            return self._show(self.conversation.ask(line))
        name, _, value = line[1:].partition(" ")
        if name in Settings.model_fields:
            self.conversation.settings = self.conversation.settings.changed(name, value.strip())
            return None
        match name:
            case "help":
                self._out.print(HELP)
            case "retry":
                self._retry()
            case "new":
                self.conversation.forget()
            case "think":
                self.shows_reasoning = not self.shows_reasoning
                self._out.print(f"the reasoning is {'shown' if self.shows_reasoning else 'hidden'}")
            case "settings":
                self._out.print("\n".join(f"{name} = {value!r}" for name, value in self.conversation.settings))
            case _:
                raise UserError(f"/{name}: no such command; see /help. A question cannot begin with /")

    def _retry(self) -> None:
        if not self.conversation.turns:
            raise UserError("/retry: there is no question yet")
        self._show(self.conversation.retry())

    def _show(self, pieces: Generator[Piece]) -> None:
        """Print an answer as it grows. ^C stops it."""
        start, last, printer = time.monotonic(), Piece(), _Printer(self._out, self.shows_reasoning)
        try:
            with closing(pieces):
                for last in pieces:
                    printer.add(last)
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            last = last._replace(finish_reason="stopped")
        self._out.print()
        if self.interactive:
            self._out.print(f"({self._facts(last, time.monotonic() - start)})\n", style="dim")
        elif last.finish_reason == "length":
            warn(f"the answer was cut off after {last.tokens:,} tokens")

    def _facts(self, last: Piece, seconds: float) -> str:
        tokens = f"{last.tokens:,} tokens" if last.tokens else ""
        facts = [tokens, f"{seconds:.1f} s", f"seed {self.conversation.seed}", ENDS.get(last.finish_reason or "")]
        return ", ".join(filter(None, facts))


class _Printer:
    """Prints the pieces of one answer: the reasoning dimmed, then the content."""

    def __init__(self, out: Console, shows_reasoning: bool) -> None:
        self._out, self._shows_reasoning, self._style = out, shows_reasoning, ""

    def add(self, piece: Piece) -> None:
        if self._shows_reasoning:
            self._print(piece.reasoning, "dim")
        self._print(piece.content, "none")
        for call in piece.calls:
            self._line(f"call {call['function']['name']}({call['function']['arguments']})", "cyan")
        for result in piece.results:
            label, style = ("result", "green") if result.succeeded else ("failed", "red")
            self._line(f"{label} {result.text}", style)

    def _line(self, text: str, style: str) -> None:
        """Print a call or a result, with the first lines of what it says."""
        lines = text.splitlines() or [""]
        if len(lines) > SHOWN_LINES:
            lines[SHOWN_LINES:] = [f"... {len(lines) - SHOWN_LINES} more lines"]
        between = "\n" if self._style else ""
        self._out.print(between + printable("\n".join(lines)), style=style, end="")
        self._style = style

    def _print(self, text: str, style: str) -> None:
        if text:
            between = "\n\n" if self._style not in ("", style) else ""
            self._out.print(between + printable(text), style=style, end="")
            self._style = style


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End the program at SIGTERM also while an answer is printed, which ^C only stops."""

    def end(_: int, __: object) -> NoReturn:
        raise Interrupted("terminated")

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
