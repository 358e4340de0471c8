"""Errors that users can fix, how the command line reports an exception, and imports of optional packages.

An error is reported as sentences on the terminal, an exit code and, if it was unexpected, a traceback in a file.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import traceback
from importlib import import_module
from types import ModuleType

SHOWN = 500  # characters of an unexpected error's message
WORDINGS = (  # of pydantic, and ours
    (r"^Value error, ", ""),
    (r"(, unable to .*|, got a number with .*|, not \d+)$", ""),
    (r"^\w+ should ", "must "),
    (r"greater than or equal to", "at least"),
    (r"less than or equal to", "at most"),
    (r"be a valid integer", "be an integer"),
    (r"be a valid (?:dictionary.*|.* instance.*)", "be an object"),
    (r"be a valid ", "be a "),
    (r" after validation", ""),
    (r"^Extra inputs are not permitted$", "no such key"),
    (r"^Field required$", "missing, and there is no default"),
)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
# Messages of torch and of C++ for failed allocations; the exception is a RuntimeError, also for CUDA.
OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|bad_alloc|out of memory", re.IGNORECASE)


class UserError(ValueError):
    """A mistake that the user can fix. The command line prints the message without a traceback."""


class Interrupted(Exception):
    """The run was stopped by ^C or SIGTERM. The message says how to continue it."""


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an optional dependency.

    Raises:
        UserError: The module is not installed. The message names the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # the module is there, but one that it imports is missing
            raise
        raise UserError(not_installed(error.name, extra)) from None


def requirement(text: str) -> str:
    """Return what pydantic demands of a value in our words, such as "must be at least 1"."""
    for theirs, ours in WORDINGS:
        text = re.sub(theirs, ours, text)
    return text[:1].lower() + text[1:]


def not_installed(package: str, extra: str) -> str:
    """Return what to do about a package that is missing."""
    return f"{package} is not installed: run pip install 'r1kit[{extra}]'"


def exit_code(error: Exception) -> int:
    """Return 130 for an interruption, 2 for what the user can fix, and 1 for what nobody expected."""
    if isinstance(error, Interrupted):
        return 130
    return 2 if isinstance(error, UserError) or _explain(error) else 1


def message(error: Exception) -> str:
    """Return the text for the terminal. Writes the traceback of an unexpected error to a file and names the file."""
    if isinstance(error, Interrupted):
        return str(error)
    if isinstance(error, UserError):
        return _indent(str(error)) or f"error: {type(error).__name__}"
    if (explanation := _explain(error)) is not None:
        return _indent("\n".join([explanation, *_notes(error)]))
    first, *rest = str(error).strip().splitlines() or [""]
    shown = first[:SHOWN] + (" ..." if rest or len(first) > SHOWN else "")
    return _indent("\n".join([f"unexpected {type(error).__name__}: {shown}", *(_notes(error) or [_save(error)])]))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that an allocation failed, on any device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None
    )


def _indent(text: str) -> str:
    return "\n  ".join(f"error: {text}".splitlines()) if text else ""


def _notes(error: Exception) -> list[str]:
    """Return the notes of the error: a stage adds where its traceback is."""
    return [*getattr(error, "__notes__", [])]


def _explain(error: Exception) -> str | None:
    """Return a sentence about an error of the operating system or of memory; None for any other."""
    if is_out_of_memory(error):
        return "out of memory: use a smaller model, shorter texts, or a lower max_concurrent or micro_batch_tokens"
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    if error.filename is None:
        return error.strerror
    advice = ""
    if error.errno in NOT_WRITABLE:
        advice = ": give a --run-dir, and work in a directory, that you may write to"
    return f"{os.fsdecode(error.filename)}: {error.strerror}{advice}"


def _save(error: Exception) -> str:
    """Write the traceback to a new file in the directory for temporary files, and return where it is."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="r1kit-error-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
    except OSError:
        return "set R1KIT_DEBUG=1 to see the traceback"
    return f"the traceback is in {file.name}"
