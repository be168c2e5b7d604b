"""Runs the service in this process."""

from __future__ import annotations

import numpy as np
import prometheus_client
import uvicorn

from ood_seg.perception.core.decision import check_prediction
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.serving.app import ServiceLimits, create_app


def serve(
    segmentor: Segmentor,
    *,
    name: str = "",
    limits: ServiceLimits | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Serve a model until Ctrl-C; `ood-seg serve` from Python.

    Args:
        segmentor: the model; it is run once first, so that a model that cannot run fails here and
            not in a request.
        name: of the model, shown by `/model` and `/health`.
        limits: None for the defaults of `ServiceLimits`.
        host: address to listen on; there is no authentication.
        port: 0 chooses a free one.

    Raises:
        ValueError: the model cannot run, or its scores are not finite.
    """
    (prediction,) = segmentor.predict([np.zeros((64, 128, 3), np.uint8)])
    check_prediction(prediction, (64, 128), "test of the model on a black image")
    # Creation times would only add a series to each counter.
    prometheus_client.disable_created_metrics()
    app = create_app(segmentor, name=name, limits=limits or ServiceLimits())
    uvicorn.run(app, host=host, port=port, log_level="info", access_log=False)
