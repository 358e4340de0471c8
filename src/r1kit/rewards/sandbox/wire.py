"""The guest's replies, parsed on the host as hostile text, and the frames that carry them in the wasm tier."""

from __future__ import annotations

import struct

from r1kit.rewards.sandbox.base import Mode, Outcome
from r1kit.rewards.sandbox.codec import CodecError, decode, loads

READY = b"ready"  # a native candidate's first line, sent when it is confined
OUT_OF_MEMORY = 77  # exit code of a native candidate
DETAIL_CHARS = 300  # of an outcome's detail; the rest is cut off
LENGTH = struct.Struct(">I")  # prefix of every frame between this process and the wasm host
REPLY, END = b"r", b"e"  # first byte of a frame: the guest's reply to one input, or the host's report at a task's end


def max_reply_chars(output_bytes: int) -> int:
    """Return the longest honest reply in characters: JSON writes one byte of output as at most six characters."""
    return 6 * output_bytes + 4096


def parse_reply(mode: Mode, reply: str, output_bytes: int) -> Outcome:
    """Parse the guest's reply to one input. A reply that claims infra_error, or is malformed, becomes an error."""
    try:
        data = loads(reply, max_reply_chars(output_bytes))
        status, detail = data["status"], str(data.get("detail", ""))[:DETAIL_CHARS]
        if status in ("error", "over_limit"):
            return Outcome(status, None, detail)
        value = decode(data["value"])
        types = {"stdin": (str,), "compile": (str,), "library": (str,), "symbolic": (bool, type(None))}.get(mode)
        if status != "ok" or (types and type(value) not in types):
            raise CodecError("a reply of another form")
    except (CodecError, KeyError, TypeError, AttributeError) as error:
        return Outcome("error", None, f"unreadable result: {error}"[:DETAIL_CHARS])
    return Outcome("ok", value)
