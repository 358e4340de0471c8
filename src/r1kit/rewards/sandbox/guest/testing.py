"""Runs tests without the program under test: its results are looked up in a record of its calls.

The tests run in an interpreter of their own. Each call of the program becomes an operation. Where the record lacks it,
the result is a promise: it can be called and taken apart into further operations, and raises `Unknown` when its value
is needed. The host has the candidate carry out the operations and runs the tests again with the longer record, until
the operations equal the record: then every assertion was judged on real results.
"""

from __future__ import annotations

import builtins
import json
import math
import random
from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.guest import leetcode
from r1kit.rewards.sandbox.guest.remote import BUILTIN, CHANGED, GLOBAL, OBJECT, pack, unpack

MAX_OPERATIONS = 5_000
MAX_PROMISE_DEPTH = 10  # without it a loop along a promised list would not end
MESSAGE_CHARS = 200
FORWARDED = "len str repr int float".split()  # asked of the program's objects: the result is compared with a value
OPERATORS = """bool contains lt le gt ge add sub mul truediv floordiv mod pow and or xor radd rsub rmul rtruediv
rfloordiv rmod rpow rand ror rxor neg pos abs round index reversed""".split()
PREDICATES = "startswith endswith issubset issuperset isdisjoint".split()  # an object could answer yes to all
OBJECT_TEXT = json.dumps(OBJECT).strip('"')
# Names that tests may use without an import, in addition to Python's own. They never refer to the program.
KNOWN = {name: vars(leetcode)[name] for name in """collections copy datetime functools heapq itertools math
operator random re string sys Counter OrderedDict defaultdict deque inf nan ListNode TreeNode list_node tree_node
is_same_list is_same_tree""".split()} | {"isclose": math.isclose}  # fmt: skip


# A tag and what identifies the object: (GLOBAL, name), (BUILTIN, name) or (OBJECT, call, place).
Location: TypeAlias = tuple[Any, ...]


class Operation(TypedDict):
    """A call of the program. The function, the arguments and the keyword arguments are packed and encoded."""

    function: codec.Encoded
    args: codec.Encoded
    kwargs: dict[str, codec.Encoded]


class Entry(TypedDict):
    """A recorded operation and its outcome."""

    operation: Operation
    status: str
    value: codec.Encoded  # packed and encoded
    detail: str


Judgement: TypeAlias = tuple[bool | None, str]  # passed, failed, or None when unknown; the text of the assertion


class Unknown(BaseException):
    """The value of a promise is needed."""


class ProgramError(Exception):
    """The program failed with an error that is not one of Python's built-in exceptions."""


class Remote:
    """A name of the program, an object it keeps, or the promise of a result.

    promised: 0 for an existing object, 1 for a promise, 2 for a promise that depends on that one, and so on.
    """

    def __init__(self, session: Session, where: Location, promised: int = 0) -> None:
        vars(self).update(_session=session, _where=where, _promised=promised)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Append a call of the program and return its result or the promise of it."""
        return self._session.operate(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in PREDICATES:  # Python itself looks up the former, to copy or to print
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
        """Compare by identity without asking the program: an object that equals everything would pass every test."""
        return _value(self) is other

    __hash__ = object.__hash__
    __class__ = property(lambda self: type(_value(self)))  # for isinstance


def _ask(name: str, remote: Remote, *rest: Any) -> Any:
    return remote._session.operate((BUILTIN, name), (remote, *rest), {})


def _value(result: Any) -> Any:
    """Return the result; raise Unknown if it is only promised."""
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
    """One run of the tests: collects the operations and judges the assertions."""

    def __init__(self, record: list[Entry]) -> None:
        self.record = record
        self.operations: list[Operation] = []
        self.covered = True  # so far, the operations equal the record
        # After the first difference, guess that an operation has the outcome of an equal one elsewhere in the record.
        # The next round checks the guess. Results with objects are left out: their numbers differ.
        plain = (entry for entry in record if OBJECT_TEXT not in json.dumps(entry["value"]))
        self.guesses = {json.dumps(entry["operation"]): entry for entry in plain}
        self.judged: list[Judgement] = []

    def operate(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Append an operation and return its result: the recorded one, or else a promise."""
        promised = max(value._promised for value in (function, *args) if type(value) is Remote)
        if promised == MAX_PROMISE_DEPTH:
            raise Unknown
        number = len(self.operations)
        if number == MAX_OPERATIONS:
            raise ProgramError(f"the tests call the program more than {MAX_OPERATIONS} times")
        operation: Operation = {
            "function": codec.encode(pack(function, _name_of)),
            "args": codec.encode([pack(arg, _name_of) for arg in args]),
            "kwargs": {key: codec.encode(pack(value, _name_of)) for key, value in kwargs.items()},
        }
        self.operations.append(operation)
        entry = self.record[number] if number < len(self.record) else None
        self.covered = self.covered and entry is not None and entry["operation"] == operation
        if not self.covered:
            entry = self.guesses.get(json.dumps(operation))
        if entry is None:
            return Remote(self, (OBJECT, number, 0), promised + 1)
        if entry["status"] != "ok":
            raise _exception(entry)
        result: Any = codec.decode(entry["value"])
        if type(result) is tuple and len(result) == 3 and result[0] == CHANGED:
            _, result, changed = result
            for position, value in changed.items():
                _replace(args[position], unpack(value, self._find))
        return unpack(result, self._find)

    def _find(self, tag: str, *where: Any) -> Remote:
        return Remote(self, (tag, *where))

    def assertion(self, text: str) -> Assertion:
        """Return the context manager around one assertion of the tests."""
        return Assertion(self.judged, text)


class Assertion:
    """`with assertion(text): assert ...` records the judgement and lets the tests continue."""

    def __init__(self, judged: list[Judgement], text: str) -> None:
        self.judged, self.text = judged, text

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if kind is not None and not issubclass(kind, (Exception, Unknown)):
            return False
        note = ""
        if kind is not None and kind not in (Unknown, AssertionError):
            note = f" ({kind.__name__}: {error})"
        self.judged.append((None if kind is Unknown else kind is None, (self.text + note)[:MESSAGE_CHARS]))
        return True


def _name_of(value: object) -> Location:
    if type(value) is Remote:
        where: Location = value._where
        return where
    if isinstance(value, type) and vars(builtins).get(name := value.__name__) is value:
        return BUILTIN, name
    raise codec.CodecError(f"a {type(value).__name__} cannot be given to the program")


def _exception(entry: Entry) -> Exception:
    name, _, message = entry["detail"].partition(": ")
    kind = getattr(builtins, name, None)
    if entry["status"] != "error" or not (isinstance(kind, type) and issubclass(kind, Exception)):
        return ProgramError(entry["detail"])
    return ProgramError(message) if issubclass(kind, (UnicodeError, BaseExceptionGroup)) else kind(message)


def _replace(old: Any, new: Any) -> None:
    """Give a list, set or dict the content that the program gave it."""
    old.clear()
    (old.extend if type(old) is list else old.update)(new)


def examine(text: str) -> tuple[str, list[Judgement]]:
    """Run tests and return (operations as JSON, judgements).

    text: JSON {"tests": sources, "names": names that belong to the program, "record": entries known so far}. A test
    that fails outside its assertions counts as one failed assertion.
    """
    request = json.loads(text)
    session = Session(request["record"])
    random.seed(0)  # tests that draw their inputs draw the same ones in every round
    scope: dict[str, Any] = {"__name__": "tests", **KNOWN, "__assertion__": session.assertion}
    scope |= {name: Remote(session, (GLOBAL, name)) for name in request["names"]}
    for test in request["tests"]:
        judged = len(session.judged)
        try:
            exec(compile(test, "test", "exec"), scope)
            if len(session.judged) == judged and "__assertion__" in test:  # it only expected an exception
                session.judged.append((True, "the test"))
        except (Exception, Unknown) as error:
            session.assertion("the test").__exit__(type(error), error, None)
    return json.dumps(session.operations), session.judged
