"""Several processes for one run: start them, and let all but the first follow it.

`r1kit run` with `processes = N` starts N processes with the same command, as torchrun does. Rank 0 is the run itself:
lock, stages in order, lineage, artifacts. It announces every stage that trains, and the other ranks run these with it,
without writing files or messages.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from dataclasses import replace

from r1kit import console, errors, interrupt, machine
from r1kit.config import StageConfig
from r1kit.learn.world import CONTINUE, LAUNCHER, LostRank, World, lost_ranks_named
from r1kit.run.execute import run_module
from r1kit.stages.context import StageContext

RESTARTS = 3  # of all processes, after one was killed
STOP_SECONDS = 600  # from a signal to SIGKILL: the step ends and is saved


def launch(processes: int) -> int:
    """Run this command in several processes on this machine. Return the exit code of the run.

    If one is killed, such as by the kernel when memory runs out, the others end, and all are started again: the run
    continues from its last checkpoint. An error ends the run.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # torch's account of failed processes; these report their errors themselves
    os.environ[LAUNCHER] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, machine.threads() // processes)))
    for restarts_left in reversed(range(RESTARTS + 1)):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,  # it would restart after any error, also the user's
            shutdown_timeout=STOP_SECONDS,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "r1kit", *sys.argv[1:])
        except SignalException:
            interrupt.exit_interrupted()
        except ChildFailedError as failed:
            codes = {rank: failure.exitcode for rank, failure in sorted(failed.failures.items())}
            killed = [rank for rank, code in codes.items() if code < 0]
            if not killed:
                return next(iter(codes.values()))
            if not restarts_left:
                console.complain(f"process {killed[0]} of {processes} was killed, after {RESTARTS} restarts{CONTINUE}")
                return 1
            console.warn(f"process {killed[0]} of {processes} was killed; all start again from the last checkpoint")
        else:
            return 0
    raise AssertionError("unreachable")


def follow(world: World) -> None:
    """Run the stages that rank 0 announces, until it has finished."""
    console.silence()
    try:
        with interrupt.signal_handlers(), lost_ranks_named():
            while (stage := _announced(world)) is not None:
                config, context = stage
                run_module(config, replace(context, world=world))
    except LostRank:
        raise
    except Exception as error:
        print(f"process {world.rank}: {errors.message(error)}", file=sys.stderr, flush=True)
        raise


def _announced(world: World) -> tuple[StageConfig, StageContext] | None:
    return world.from_first(lambda: None)


def dismiss(world: World) -> None:
    """Tell the other ranks that the run has finished."""
    world.from_first(lambda: None)
