"""Runs the service in this process."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Sequence

import numpy as np
import prometheus_client
import uvicorn
from fastapi import FastAPI

from ood_seg.perception.core.decision import check_prediction
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.serving.app import ServiceLimits, create_app
from ood_seg.serving.batching import ModelStopped
from ood_seg.serving.connections import TimedProtocol
from ood_seg.serving.protection import LOOPBACK, trusted_hosts

logger = logging.getLogger("uvicorn.error")


def serve(
    segmentor: Segmentor,
    *,
    name: str = "",
    limits: ServiceLimits | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Sequence[str] = (),
    token: str | None = None,
) -> None:
    """Serve a model until Ctrl-C or SIGTERM; `ood-seg serve` from Python.

    Args:
        segmentor: the model; it is run once first, so that a model that cannot run fails here and
            not in a request.
        name: of the model, shown by `/model` and `/health`.
        limits: None for the defaults of `ServiceLimits`.
        host: address to listen on.
        port: 0 chooses a free one.
        allow_hosts: names by which clients may address the service, beside the loopback names and
            `host`; see `protection.trusted_hosts`.
        token: demanded from clients, see `create_app`.

    Raises:
        ValueError: the model cannot run, or its scores are not finite; a malformed name in
            `allow_hosts`, or an empty token.
        ModelStopped: the thread of the model has ended, which needs a new process.
    """
    if token is not None and not token.strip():
        raise ValueError("--token: expected a token, got an empty one")
    hosts, limits = trusted_hosts(host, allow_hosts), limits or ServiceLimits()
    (prediction,) = segmentor.predict([np.zeros((64, 128, 3), np.uint8)])
    check_prediction(prediction, (64, 128), "test of the model on a black image")
    # Creation times would only add a series to each counter.
    prometheus_client.disable_created_metrics()
    app = create_app(segmentor, name=name, limits=limits, allowed_hosts=hosts, token=token)
    server = make_server(app, limits, host=host, port=port)
    logger.info("answering to the host names %s; --allow-host adds others", ", ".join(hosts))
    if token is None and host not in LOOPBACK:
        logger.warning("listening on %s without --token: whoever reaches it may use it", host)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    error = app.state.service.worker.error
    if error is not None:
        raise ModelStopped(f"the model has ended: {error!r}; start the service again")


def make_server(
    app: FastAPI, limits: ServiceLimits, *, host: str = "127.0.0.1", port: int = 8000
) -> uvicorn.Server:
    """A server for an application of `create_app` that ends when the model does.

    Its connections are limited as `limits` states. At SIGTERM it answers what was accepted, in at
    most twice `limits.timeout`.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=functools.partial(TimedProtocol, limits),  # type: ignore[arg-type]
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=math.ceil(2 * limits.timeout),
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    app.state.service.worker.on_error = stop
    return server
