"""Tier namespaces: candidates have their own users, processes, mounts and network, and a small private file system.

All layers of the tier landlock apply too. It is the only tier that runs C++.
"""

from __future__ import annotations

from r1kit.rewards.sandbox.base import Execution, Limits, Outcome, Task
from r1kit.rewards.sandbox.native.sandbox import NativeSandbox
from r1kit.types import SandboxTier

COMPILE_LIMITS = Limits(cpu_seconds=20.0, memory_bytes=2 << 30, output_bytes=16 << 20)


class NamespaceSandbox(NativeSandbox):
    """Fork servers in namespaces of their own."""

    name: SandboxTier = "namespaces"

    def __init__(self) -> None:
        super().__init__()
        self._compiled: tuple[str, Outcome] | None = None  # the last C++ program and the outcome of compiling it

    def run(self, task: Task, limits: Limits) -> Execution:
        """Run the task; C++ is compiled first, once for consecutive tasks with the same source."""
        if task.language != "cpp":
            return super().run(task, limits)
        compiled = self._compile(task.source)
        if compiled.status != "ok":
            return Execution((compiled,) * len(task.inputs))
        library = str(compiled.value)
        runs = (self.run_on_server(Task("library", library, (text,)), limits) for text in task.inputs)
        return Execution(tuple(run.outcomes[0] for run in runs))

    def _compile(self, source: str) -> Outcome:
        if self._compiled is None or self._compiled[0] != source:
            [outcome] = self.run_on_server(Task("compile", source, ("",)), COMPILE_LIMITS).outcomes
            if outcome.status == "error" and not outcome.detail.startswith("CompileError"):  # g++ did not run
                outcome = Outcome("infra_error", detail=f"C++ needs g++: {outcome.detail}")
            self._compiled = source, outcome
        return self._compiled[1]


def open_tier() -> NamespaceSandbox:
    """Open the tier. Raises InfraError where the kernel or the container does not grant user namespaces."""
    return NamespaceSandbox()
