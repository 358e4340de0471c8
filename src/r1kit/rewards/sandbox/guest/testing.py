"""Tests around a program that is not there: what it would return is looked up in a record of its calls.

The tests run in an interpreter of their own, without the program. Each call of the program becomes an operation; where
the record does not cover it yet, its result is a promise, which can be called and taken apart into further operations,
and which raises `Unknown` when its value is needed. The host has the candidate carry out the operations, and comes back
with the record, until the operations are those of the record: then every assertion was judged on real results.
"""

from __future__ import annotations

import builtins
import json
import math
import random
from collections.abc import Callable
from typing import Any

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.guest import leetcode
from r1kit.rewards.sandbox.guest.remote import BUILTIN, CHANGED, GLOBAL, OBJECT, pack, unpack

MOST_OPERATIONS = 5_000
MOST_PROMISED = 10  # deep; a loop along a promised list would go on and on
MESSAGE = 200  # characters
FORWARDED = "len str repr int float".split()  # of the program's objects: what they say must still be the right value
OPERATORS = """bool contains lt le gt ge add sub mul truediv floordiv mod pow and or xor radd rsub rmul rtruediv
rfloordiv rmod rpow rand ror rxor neg pos abs round index reversed""".split()
QUESTIONS = "startswith endswith issubset issuperset isdisjoint".split()  # an object could say yes to all
OBJECT_TEXT = json.dumps(OBJECT).strip('"')
# What tests may use without an import, besides Python's own names. None of it is ever the program's.
KNOWN = {name: vars(leetcode)[name] for name in """collections copy datetime functools heapq itertools math
operator random re string sys Counter OrderedDict defaultdict deque inf nan ListNode TreeNode list_node tree_node
is_same_list is_same_tree""".split()} | {"isclose": math.isclose}  # fmt: skip


class Unknown(BaseException):
    """The value of a promise is needed."""


class ProgramError(Exception):
    """The program failed in a way that is no exception of Python's own."""


class Remote:
    """A name of the program's, an object it keeps, or the promise of a result."""

    def __init__(self, session: Session, where: tuple, promised: int = 0) -> None:
        """promised: 1 for a promise, 2 for one that hangs on that one, and so on; 0 for what is there."""
        vars(self).update(_session=session, _where=where, _promised=promised)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._session.operate(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in QUESTIONS:  # Python itself looks for the former, to copy or to print
            _value(self)
            raise AttributeError(f"{name} is not asked of the program's own objects")
        return _ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask("setattr", self, name, value)

    def __iter__(self) -> Any:
        return iter(_value(_ask("list", self)))

    def __next__(self) -> Any:
        return _value(_ask("next", self))

    def __getitem__(self, key: Any) -> Any:
        return _value(_ask("getattr", _value(self), "__getitem__")(key))

    def __eq__(self, other: object) -> bool:
        """Never asked of the program: an object that equals everything would pass every test."""
        return _value(self) is other

    __hash__ = object.__hash__
    __class__ = property(lambda self: type(_value(self)))  # what isinstance asks for


def _ask(name: str, remote: Remote, *rest: Any) -> Any:
    return remote._session.operate((BUILTIN, name), (remote, *rest), {})


def _value(result: Any) -> Any:
    """The result, unless it is only promised."""
    if type(result) is Remote and result._promised:
        raise Unknown
    return result


def _forwarded(name: str) -> Callable[[Remote], Any]:
    return lambda self: _value(_ask(name, _value(self)))


def _needed(name: str) -> Callable[..., Any]:
    def operator(self: Remote, *others: Any) -> Any:
        _value(self)
        raise TypeError(f"{name} is not asked of the program's own objects")

    return operator


for _name in FORWARDED:
    setattr(Remote, f"__{_name}__", _forwarded(_name))
for _name in OPERATORS:
    setattr(Remote, f"__{_name}__", _needed(_name))


class Session:
    """One run of the tests: the operations it came to and what its assertions said."""

    def __init__(self, record: list[dict[str, Any]]) -> None:
        self.record = record
        self.operations: list[dict[str, Any]] = []
        self.covered = True  # so far, the operations are those of the record
        # Where they are not, what the same operation came to elsewhere is likely: one round then finds out more, and
        # the next one checks it. Objects have other numbers there.
        plain = (outcome for outcome in record if OBJECT_TEXT not in json.dumps(outcome["value"]))
        self.guesses = {json.dumps(outcome["operation"]): outcome for outcome in plain}
        self.judged: list[tuple[bool | None, str]] = []  # of each assertion: passed or not, None when unknown; its text

    def operate(self, function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        promised = max(value._promised for value in (function, *args) if type(value) is Remote)
        if promised == MOST_PROMISED:
            raise Unknown
        number = len(self.operations)
        if number == MOST_OPERATIONS:
            raise ProgramError(f"the tests call the program more than {MOST_OPERATIONS} times")
        operation = {
            "function": codec.encode(pack(function, _name_of)),
            "args": codec.encode([pack(arg, _name_of) for arg in args]),
            "kwargs": {key: codec.encode(pack(value, _name_of)) for key, value in kwargs.items()},
        }
        self.operations.append(operation)
        outcome = self.record[number] if number < len(self.record) else None
        self.covered = self.covered and outcome is not None and outcome["operation"] == operation
        if not self.covered:
            outcome = self.guesses.get(json.dumps(operation))
        if outcome is None:
            return Remote(self, (OBJECT, number, 0), promised + 1)
        if outcome["status"] != "ok":
            raise _as_raised(outcome)
        result = codec.decode(outcome["value"])
        if type(result) is tuple and len(result) == 3 and result[0] == CHANGED:
            _, result, changed = result
            for position, value in changed.items():
                _replace(args[position], unpack(value, self._find))
        return unpack(result, self._find)

    def _find(self, tag: str, *where: Any) -> Remote:
        return Remote(self, (tag, *where))

    def assertion(self, text: str) -> Assertion:
        return Assertion(self.judged, text)


class Assertion:
    """`with assertion(text): assert ...` notes how it went, and lets the tests go on."""

    def __init__(self, judged: list, text: str) -> None:
        self.judged, self.text = judged, text

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if kind is not None and not issubclass(kind, (Exception, Unknown)):
            return False
        note = f" ({kind.__name__}: {error})" if kind not in (None, Unknown, AssertionError) else ""
        self.judged.append((None if kind is Unknown else kind is None, (self.text + note)[:MESSAGE]))
        return True


def _name_of(value: Any) -> tuple:
    if type(value) is Remote:
        return value._where
    if isinstance(value, type) and vars(builtins).get(value.__name__) is value:
        return BUILTIN, value.__name__
    raise codec.CodecError(f"a {type(value).__name__} cannot be given to the program")


def _as_raised(outcome: dict[str, Any]) -> Exception:
    name, _, message = outcome["detail"].partition(": ")
    kind = getattr(builtins, name, None)
    if outcome["status"] != "error" or not (isinstance(kind, type) and issubclass(kind, Exception)):
        return ProgramError(outcome["detail"])
    return ProgramError(message) if issubclass(kind, (UnicodeError, BaseExceptionGroup)) else kind(message)


def _replace(old: Any, new: Any) -> None:
    """What the program did to a list, set or dict that it was given."""
    old.clear()
    (old.extend if type(old) is list else old.update)(new)


def examine(text: str) -> tuple[str, list[tuple[bool | None, str]]]:
    """Run JSON {"tests": programs, "names": the program's, "record": what is known}: (operations as JSON, judgements).

    A test that fails outside its assertions counts as one assertion that failed.
    """
    request = json.loads(text)
    session = Session(request["record"])
    random.seed(0)  # tests that draw their inputs draw the same ones each time
    scope: dict[str, Any] = {"__name__": "tests", **KNOWN, "__assertion__": session.assertion}
    scope |= {name: Remote(session, (GLOBAL, name)) for name in request["names"]}
    for test in request["tests"]:
        judged = len(session.judged)
        try:
            exec(compile(test, "test", "exec"), scope)
            if len(session.judged) == judged and "__assertion__" in test:  # as when it only waits for an exception
                session.judged.append((True, "the test"))
        except (Exception, Unknown) as error:
            session.assertion("the test").__exit__(type(error), error, None)
    return json.dumps(session.operations), session.judged
