"""Services of a grading process: the settings, the sandboxes of each thread, and the judge."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from r1kit.errors import UserError
from r1kit.rewards.judge.endpoint import Endpoint

if TYPE_CHECKING:
    from r1kit.rewards.judge.client import Client
    from r1kit.rewards.sandbox.base import Sandbox

NO_JUDGE = (
    'the verifier \'judge\' needs an endpoint: set judge = { base_url = "https://HOST/v1", model = "NAME" } at the '
    "top of the recipe, or give --judge-url to `r1kit grade` or `r1kit eval`"
)

OPENING = "opening the sandbox (the first time on a machine it is built, in about half a minute)"


@dataclass(frozen=True)
class Settings:
    """What a recipe allows its verifiers. Plain values: `asdict` of it goes to worker processes as JSON."""

    sandbox: str = "auto"  # a tier of rewards.sandbox
    folder: str | None = None  # the recipe's directory, from which reward functions can be imported
    judge: Endpoint | None = None
    timeout: float = 300.0  # seconds for one request to a worker process; a last resort, as limits do not count time

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `dataclasses.asdict` made these values of."""
        judge = values.get("judge")
        return cls(**{**values, "judge": Endpoint(**judge) if isinstance(judge, Mapping) else judge})


class _ThreadSandboxes(threading.local):
    """The sandboxes that this thread has opened, each with the process that opened it."""

    sandbox: tuple[int, Sandbox] | None = None
    native: tuple[int, Sandbox] | None = None


_settings = Settings()
_local = _ThreadSandboxes()
_opened_tier: str | None = None
_seconds_opening = 0.0
_judge: Client | None = None
_judge_lock = threading.Lock()


def configure(settings: Settings) -> None:
    """Set what this process grades with. Call before the first completion is graded."""
    global _settings, _local, _opened_tier, _judge
    _settings, _local, _opened_tier, _judge = settings, _ThreadSandboxes(), None, None


def settings() -> Settings:
    """Return the settings of this process."""
    return _settings


def sandbox() -> Sandbox:
    """Return this thread's sandbox. UserError when no tier works on this machine."""
    if _local.sandbox is None or _local.sandbox[0] != os.getpid():  # a forked child needs its own
        _local.sandbox = os.getpid(), _open(_settings.sandbox)
    return _local.sandbox[1]


def native_sandbox() -> Sandbox:
    """Return this thread's sandbox of a native tier, which runs this machine's own Python.

    Raises:
        UserError: No native tier works on this machine.
    """
    if _settings.sandbox != "wasm" and sandbox().name != "wasm":
        return sandbox()
    if _local.native is None or _local.native[0] != os.getpid():
        _local.native = os.getpid(), _open("auto", native=True)
    return _local.native[1]


def _open(tier: str, native: bool = False) -> Sandbox:
    """Open a sandbox. The time does not count as grading."""
    global _seconds_opening
    from r1kit.rewards.sandbox import NATIVE, TIERS, open_sandbox

    start = time.perf_counter()
    now_doing(OPENING)
    try:
        return open_sandbox(tier, NATIVE if native else TIERS)
    finally:
        _seconds_opening += time.perf_counter() - start
        now_doing("")


def seconds_opening() -> float:
    """Return the seconds that this process has spent on opening sandboxes."""
    return _seconds_opening


def open_early() -> str:
    """Open this thread's sandbox before it is needed; return its tier. UserError when no tier works."""
    global _opened_tier
    _opened_tier = sandbox().name
    return _opened_tier


def tier() -> str | None:
    """Return the tier that `open_early` opened since `configure`; worker processes choose the same one."""
    return _opened_tier


def judge() -> Client:
    """Return this process's client of the judge. UserError when no judge is configured."""
    global _judge
    if _settings.judge is None:
        raise UserError(NO_JUDGE)
    with _judge_lock:
        if _judge is None:
            from r1kit.rewards.judge.client import Client

            _judge = Client(_settings.judge)
        return _judge


def take_usage() -> dict[str, float]:
    """Return what the judge has used since the last call; empty when it received no request."""
    return _judge.take_usage() if _judge else {}


def _ignore(activity: str) -> None: ...


_report_activity: Callable[[str], None] = _ignore


def on_activity(report: Callable[[str], None]) -> None:
    """Set the function that `now_doing` calls. A worker process sends the activity to its parent."""
    global _report_activity
    _report_activity = report


def now_doing(activity: str) -> None:
    """Say what this process is about to do, such as "reward my_rewards:brevity", in case it hangs or dies there.

    Without text, it does again what the request asked for.
    """
    _report_activity(activity)


def recipe_folder() -> Path | None:
    """Return the recipe's directory, from which reward functions can be imported."""
    return None if _settings.folder is None else Path(_settings.folder)
