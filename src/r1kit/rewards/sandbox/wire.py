"""The guest's replies, read on the host's side as the hostile text they are; and the frames that carry them."""

from __future__ import annotations

import struct

from r1kit.rewards.sandbox.base import Mode, Outcome
from r1kit.rewards.sandbox.codec import CodecError, decode, loads

DETAIL = 300  # characters kept
LENGTH = struct.Struct(">I")  # before every frame between this process and the wasm host
REPLY, END = b"r", b"e"  # a frame's first byte: the guest's reply to one input; the host's own last word on a task


def longest_reply(output_bytes: int) -> int:
    """Characters that an honest reply can have: JSON writes one byte of output as at most six."""
    return 6 * output_bytes + 4096


def outcome(mode: Mode, reply: str, output_bytes: int) -> Outcome:
    """What the guest says one input came to. It cannot claim infra_error, which would spare it a verdict."""
    try:
        data = loads(reply, longest_reply(output_bytes))
        status, detail = data["status"], str(data.get("detail", ""))[:DETAIL]
        if status in ("error", "over_limit"):
            return Outcome(status, None, detail)
        value = decode(data["value"])
        kinds = {"stdin": (str,), "compile": (str,), "library": (str,), "symbolic": (bool, type(None))}.get(mode)
        if status != "ok" or (kinds and type(value) not in kinds):
            raise CodecError("a reply of another form")
    except (CodecError, KeyError, TypeError, AttributeError) as error:
        return Outcome("error", None, f"unreadable result: {error}"[:DETAIL])
    return Outcome("ok", value)
