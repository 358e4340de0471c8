"""CRUXEval: predict the output of a program for a given input, or an input that gives the output.

Answers are Python literals, compared by exact type; nothing is evaluated in this process. A predicted input runs in the
sandbox as the arguments of one call. It may consist of literals, plain functions and methods only: an argument that
could reach the program itself could make it return anything.
"""

from __future__ import annotations

import ast
import re
from typing import Any, Literal, NoReturn

from r1kit.data.response import split_response
from r1kit.rewards.code import syntax
from r1kit.rewards.code.blocks import find_blocks
from r1kit.rewards.code.compare import shown
from r1kit.rewards.code.literals import NoValue, expression, read_value
from r1kit.rewards.extract import answers_of
from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import Limits, Sandbox, Task
from r1kit.rewards.sandbox.guest.remote import pack
from r1kit.rewards.verdict import Ruling, Verdict

MAX_CHARACTERS = 10_000  # of an answer
LIMITS = Limits()
MAX_RESULT = 1_000_000  # characters of what a program returns for a predicted input
MAX_CUES = 20  # places in the last line where an answer may start
_TAGGED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|\Z)", re.DOTALL)  # a stop sequence may cut off the closing tag
_QUOTED = re.compile(r"\b(?:answer|outputs?|result|returns?|value)\b[^`\n]{0,60}`([^`\n]+)`", re.IGNORECASE)
_CUE = re.compile(
    r"(?:\b(?:is|be|returns?|outputs?|prints?|gives|to)\b|[:：]|=>|->|→|(?<![=!<>])=(?!=)|\b(?:so|thus|hence|therefore)\b,?)[\s*`]*",
    re.IGNORECASE,
)
_TEXT = re.compile(r"\\(?:text|texttt|mathtt|mathrm|verb)\s*\{(.*)\}", re.DOTALL)
_ASSIGNED = re.compile(r"(?:output|result|answer|ans|res|ret)\s*=\s*(?!=)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([{}_$%&#])")  # characters that LaTeX escapes inside a box
BUILDERS = """abs bool bytes chr dict enumerate filter float frozenset int len list map max min ord range repr reversed
round set sorted str sum tuple zip""".split()
_INERT = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Starred, ast.Slice, ast.Subscript, ast.keyword),
    *(ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Lambda, ast.arguments, ast.arg),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Call, ast.Name, ast.Attribute),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)


def grade(
    response: str,
    predict: Literal["output", "input"],
    output: str,
    *,
    program: str = "",
    sandbox: Sandbox | None = None,
    think_open: bool = False,
    limits: Limits = LIMITS,
) -> Verdict:
    """Judge whether a response states the literal `output`, or arguments for which the program's f returns it.

    Args:
        response: The completion.
        predict: Whether the response states an output or an input.
        output: The correct output, a Python literal.
        program: The program; required for a predicted input.
        sandbox: Runs the program; required for a predicted input.
        think_open: Whether the prompt ended in `<think>`.
        limits: The limits of that run.
    """
    answer = extract(response, think_open)
    if answer is None:
        return Verdict(0.0, None, "no answer, or several", "unparseable")
    if len(answer) > MAX_CHARACTERS:
        reason = f"the answer has {len(answer)} characters: at most {MAX_CHARACTERS} are allowed"
        return Verdict(0.0, answer, reason, "over_limit")
    try:
        gold, defined = read_value(output), _assigned(program) if predict == "input" else set()
    except (NoValue, SyntaxError) as error:
        return Verdict(0.0, answer, f"cannot be graded: {error}", "infra_error")
    try:
        if predict == "output":
            status, reason = _check_output(gold, answer)
        elif sandbox is not None:
            status, reason = _check_input(program, defined, gold, answer, sandbox, limits)
        else:
            raise ValueError("a predicted input can only be checked in a sandbox")
    except NoValue as error:
        return Verdict(0.0, answer, str(error), "unparseable")
    return Verdict(float(status == "right"), answer, reason, status)


def extract(response: str, think_open: bool = False) -> str | None:
    """Return the text of the answer; None if there is none, or several that differ.

    After the last `</think>`, the first of these forms counts: [ANSWER] tags, a box or <answer> tags, the last text in
    backticks after "output", "answer" or the like, "the answer is", the last fenced block, the complete text, the value
    at the end of its last line.
    """
    parts = split_response(response, think_open)
    if parts.unfinished:
        return None
    summary = parts.summary
    if "[ANSWER]" not in summary:  # the prompt may end in this tag
        summary = summary.partition("[/ANSWER]")[0]
    if not (texts := _TAGGED.findall(summary)):
        marked = parts.answer is not None or "\\boxed" in summary
        quoted = [] if marked else _QUOTED.findall(summary)[-1:]
        texts = quoted or answers_of(parts) or _block_bodies(summary)[-1:] or [_last_value(summary)]
    answers = {_bare(text) for text in texts}
    return answers.pop() or None if len(answers) == 1 else None


def _block_bodies(text: str) -> list[str]:
    """Return the bodies of the fenced blocks of a text."""
    return [block.body for block in find_blocks(text) if block.body.strip()]


def _bare(text: str) -> str:
    """Return an answer without the markup around it."""
    text = (_block_bodies(text)[-1:] or [text])[0].strip()
    if text.startswith("**") and text.endswith("**"):
        text = text[2:-2]
    text = text.strip().strip("`$").strip()
    if marked := _TEXT.fullmatch(text):
        text = marked[1].strip()
    return text[:-1].rstrip("`*") if re.search(r"[^.]\.$", text) else text


def _last_value(text: str) -> str:
    """Return the text if it is Python, else the value that ends its last line, else the text."""
    line = text.strip().rpartition("\n")[2].strip()
    cues = [match.end() for match in _CUE.finditer(line[:MAX_CHARACTERS])][:MAX_CUES]
    for candidate in (text, line, *(line[cue:] for cue in cues)):
        if _is_python(bare := _bare(candidate)):
            return bare
    return text


def _is_python(text: str) -> bool:
    if len(text) > MAX_CHARACTERS:
        return False
    try:
        node = expression(f"f({text}\n)")
    except NoValue:
        return False
    return isinstance(node, ast.Call) and not any(isinstance(arg, ast.Name) for arg in node.args)


def _check_output(gold: Any, answer: str) -> Ruling:
    node = _unescaped(_ASSIGNED.sub("", answer, count=1) if _ASSIGNED.match(answer) else answer)
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):  # f(x) == value
        node = node.comparators[0]
    return _compared(gold, read_value(node), "the answer")


def _check_input(program: str, defined: set[str], gold: Any, answer: str, sandbox: Sandbox, limits: Limits) -> Ruling:
    call = _call_of(answer)
    if fault := _unsafe_part(call, {*BUILDERS, *defined}):
        return Ruling("unparseable", f"an input may contain values only: {fault}")
    try:
        source = f"repr({syntax.unparse(call)})"
    except (ValueError, RecursionError) as error:
        raise NoValue(f"the input cannot be written as text: {error}") from error
    [outcome] = sandbox.run(Task("expression", program, (source,)), limits).outcomes
    if outcome.status != "ok":
        return Ruling("wrong" if outcome.status == "error" else outcome.status, f"f gave {outcome.detail}")
    text = str(outcome.value)
    if len(text) > MAX_RESULT:
        return Ruling("over_limit", f"f gave a value of {len(text)} characters: at most {MAX_RESULT} are read")
    try:
        return _compared(gold, read_value(text), "f")
    except NoValue:
        return Ruling("wrong", f"f gave {text[:80]}, which is not a literal")


def _compared(gold: Any, got: Any, who: str) -> Ruling:
    same = codec.same(pack(gold, _foreign), pack(got, _foreign))
    return Ruling.of(None if same else f"{who} gives {shown(got)}, not {shown(gold)}")


def _call_of(answer: str) -> ast.Call:
    """Parse the answer as one call of f: written as a call, as an assertion about it, or as its arguments."""
    for text in (answer, f"f({answer})"):
        try:
            node = _unescaped(text)
        except NoValue as error:
            fault = error
            continue
        if isinstance(node, ast.Compare):
            node = node.left
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "f":
            return node
        fault = NoValue(f"not arguments of f: {answer[:80]!r}")
    raise fault


def _unsafe_part(call: ast.Call, names: set[str]) -> str | None:
    """Return the first part of the arguments that could do more than produce a value, or None."""
    nodes = [node for arg in (*call.args, *call.keywords) for node in ast.walk(arg)]
    names = names | {node.arg for node in nodes if isinstance(node, ast.arg)}
    names |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if not isinstance(node, _INERT):
            return type(node).__name__
        if isinstance(node, ast.Name) and (node.id not in names or node.id == "f"):
            return node.id
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            return node.attr
    return None


def _assigned(program: str) -> set[str]:
    """Return the names of the global data that the program assigns; an input may use them."""
    assignments = [node for node in ast.parse(program).body if isinstance(node, ast.Assign)]
    return {target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)}


def _unescaped(text: str) -> ast.expr:
    """Parse an answer, also with the characters escaped that LaTeX escapes inside a box."""
    try:
        return expression(text)
    except NoValue:
        return expression(_ESCAPED.sub(r"\1", text))


def _foreign(value: Any) -> NoReturn:
    raise NoValue(f"a {type(value).__name__}")
