"""No sandbox: a plain subprocess with a time limit and nothing else. Only for a recipe that asks for it by name.

A candidate here can do whatever its user can: read keys, delete files, reach the network, leave processes behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from r1kit.rewards.sandbox.base import NO_CPP, Execution, Limits, Task, no_verdict
from r1kit.rewards.sandbox.channel import Broken, Ended, complete, converse, new_channel
from r1kit.rewards.sandbox.native import ENVIRONMENT, interpreter


class PlainSandbox:
    name = "none"

    def run(self, task: Task, limits: Limits) -> Execution:
        if task.language != "python":
            return no_verdict(task, NO_CPP)
        channel, theirs = new_channel()
        with channel, theirs:
            process = subprocess.Popen(
                interpreter("channel", "answer", theirs.fileno()),
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            theirs.close()
            try:
                outcomes, timed_out = converse(channel, task, limits)
                stopped = process.poll() is None
            except (Broken, OSError) as error:
                return no_verdict(task, str(error))
            finally:
                with contextlib.suppress(ProcessLookupError):  # all of its group have ended
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return complete(outcomes, timed_out, Ended(process.returncode, 0.0, stopped), task, limits)

    def close(self) -> None:
        """Nothing stays open between tasks."""
