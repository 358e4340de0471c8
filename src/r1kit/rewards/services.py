"""What verifiers need besides the problem: set once for a process, opened by each thread when it first needs it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.errors import UserError
from r1kit.rewards.judge.client import Client, Endpoint

if TYPE_CHECKING:
    from r1kit.rewards.sandbox.base import Sandbox


@dataclass(frozen=True)
class Settings:
    """What a recipe allows its verifiers. Plain values: it travels to grading processes as JSON."""

    sandbox: str = "auto"  # a tier of rewards.sandbox
    folder: str | None = None  # the recipe's: modules beside it can be imported as rewards
    judge: Endpoint | None = None
    timeout: float = 300.0  # seconds for one request in a grading process: a last resort, limits are not of time


_settings = Settings()
_local = threading.local()
_tier: str | None = None


def configure(settings: Settings) -> None:
    """Set what this process grades with, before it grades."""
    global _settings, _local, _tier
    _settings, _local, _tier = settings, threading.local(), None


def settings() -> Settings:
    return _settings


def sandbox() -> Sandbox:
    """This thread's sandbox. UserError when no tier works here."""
    if getattr(_local, "process", None) != os.getpid():  # a forked child needs its own
        from r1kit.rewards.sandbox import open_sandbox

        _local.sandbox = open_sandbox(_settings.sandbox)
        _local.process = os.getpid()
    return _local.sandbox


def native_sandbox() -> Sandbox:
    """This thread's sandbox of a native tier, for what needs this machine's own Python. UserError when none works."""
    if _settings.sandbox != "wasm" and sandbox().name != "wasm":
        return sandbox()
    if getattr(_local, "native_process", None) != os.getpid():
        from r1kit.rewards.sandbox import NATIVE, open_sandbox

        _local.native, _local.native_process = open_sandbox("auto", NATIVE), os.getpid()
    return _local.native


def open_early() -> str:
    """Open this thread's sandbox ahead of need; its tier. UserError when no tier works here."""
    global _tier
    _tier = sandbox().name
    return _tier


def tier() -> str | None:
    """The sandbox that was opened early since `configure`, which every grading process will choose too."""
    return _tier


def judge() -> Client:
    """This thread's connection to the judge. UserError when the recipe names none."""
    if _settings.judge is None:
        raise UserError("a problem asks for a judge, but no endpoint is given")
    if getattr(_local, "judge", None) is None:
        _local.judge = Client(_settings.judge)
    return _local.judge


def take_usage() -> dict[str, float]:
    """What this thread's judge has used since the last call; empty when none was asked."""
    client = getattr(_local, "judge", None)
    return client.take_usage() if client else {}


def recipe_folder() -> Path | None:
    return None if _settings.folder is None else Path(_settings.folder)
