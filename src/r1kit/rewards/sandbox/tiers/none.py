"""Tier none: a subprocess with a time limit and no protection, for recipes that ask for it by name.

A candidate here can do whatever its user can do: read keys, delete files, use the network, leave processes running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from r1kit.rewards.sandbox.base import NO_CPP, Execution, InfraError, Limits, Task, no_verdict
from r1kit.rewards.sandbox.channel import Exit, exchange, new_channel, to_execution
from r1kit.rewards.sandbox.interpreter import ENVIRONMENT, command
from r1kit.types import SandboxTier


class PlainSandbox:
    """A new subprocess for every task."""

    name: SandboxTier = "none"
    note = ""

    def run(self, task: Task, limits: Limits) -> Execution:
        """Run the task in a subprocess of this user; infra_error if it does not start or answer."""
        if task.language != "python":
            return no_verdict(task, NO_CPP)
        channel, theirs = new_channel()
        with channel, theirs:
            process = subprocess.Popen(
                command("guest.task", "run_task", theirs.fileno()),
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            theirs.close()
            try:
                outcomes, timed_out = exchange(channel, task, limits)
                stopped = process.poll() is None
            except (InfraError, OSError) as error:
                return no_verdict(task, str(error))
            finally:
                with contextlib.suppress(ProcessLookupError):  # the process group has already ended
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return to_execution(outcomes, timed_out, Exit(process.returncode, 0.0, stopped), task, limits)

    def close(self) -> None:
        """Do nothing: no process outlives its task."""


def open_tier() -> PlainSandbox:
    """Open the tier."""
    return PlainSandbox()
