"""Serve models until the process is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r1kit.serve.app import make_app, open_paths
from r1kit.serve.generation import Service
from r1kit.serve.limits import MAX_BODY, Limits
from r1kit.serve.metrics import Metrics
from r1kit.serve.model import ServedModel
from r1kit.serve.worker import Worker
from r1kit.web import server
from r1kit.web.hosting import Hosting


def run(
    models: Sequence[ServedModel], hosting: Hosting, limits: Limits, grace: float, ready: Callable[[str], None]
) -> None:
    """Serve the API and the chat page until ^C or SIGTERM, then return.

    Args:
        models: What is served.
        hosting: Where to listen and whose requests to answer.
        limits: Of requests.
        grace: Seconds for requests that are running when the server is stopped.
        ready: Called with the server's URL when it accepts requests.

    Raises:
        UserError: The address is taken.
        Exception: An engine has failed.
    """
    worker = Worker({model.name: model.engine for model in models})
    service = Service(models, worker, limits, Metrics())
    server.run(
        make_app(service),
        hosting,
        ready,
        max_body=MAX_BODY,
        open_paths=open_paths(),
        grace=grace,
        cut_off=worker.cut_off,
        failure=lambda: worker.failure,
    )
