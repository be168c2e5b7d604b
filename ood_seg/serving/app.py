"""The HTTP service: image in; JSON, PNG or scores out.

```
POST /predict -> host, origin, token, content type (400, 403, 401, 415)
              -> body (413 too large, 408 too slow, 429 too many) -> place in the queue (429)
              -> decode (422 if not an image, or not of the size of --region mask:FILE)
              -> reduced to the pixels of a batch -> BatchWorker -> Prediction, enlarged again
              -> DecisionRule -> json | overlay | labels | mask | scores | maps
GET  /        the page          GET /model    classes, thresholds, limits
GET  /health  200 or 503        GET /metrics  counters for Prometheus
```
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from ood_seg import __version__
from ood_seg.io.images import decode_image
from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.regions import MaskRegion
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Frame, Prediction
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.serving.batching import BatchWorker, Busy, ModelStopped
from ood_seg.serving.counters import Counters
from ood_seg.serving.images import PixelBudget, enlarged, give_back_memory, pixels_stated, reduced
from ood_seg.serving.limits import ServiceLimits
from ood_seg.serving.page import page_html
from ood_seg.serving.protection import (
    LOOPBACK,
    ResponseHeaders,
    refuse_other_origins,
    token_check,
)
from ood_seg.serving.rendering import Format, Style, render
from ood_seg.serving.uploads import Uploads, busy

CLIENT_CLOSED_REQUEST = 499  # the number that nginx gave it; nobody receives it

logger = logging.getLogger("uvicorn.error")


def create_app(
    segmentor: Segmentor,
    *,
    name: str = "",
    limits: ServiceLimits | None = None,
    allowed_hosts: Sequence[str] = LOOPBACK,
    token: str | None = None,
) -> FastAPI:
    """Return the application, for uvicorn or another ASGI server.

    Args:
        segmentor: the model; called from one thread only.
        name: of the model, shown by `/model` and `/health`.
        limits: None for the defaults of `ServiceLimits`.
        allowed_hosts: names that clients may address it by, see `protection.trusted_hosts`.
        token: demanded by `/predict`, `/model` and `/metrics`; None: they are open.
    """
    limits = limits or ServiceLimits()
    service = Service(segmentor, name, limits)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.worker.close, limits.timeout)

    app = FastAPI(title="ood_seg", version=__version__, lifespan=lifespan)
    app.state.service = service
    content = page_html()
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts, www_redirect=False)
    app.add_middleware(ResponseHeaders, page=content, observe=service.count)  # the outer one
    private = [] if token is None else [Depends(token_check(token))]
    app.add_api_route(
        "/predict",
        service.predict,
        methods=["POST"],
        response_class=Response,
        dependencies=[Depends(refuse_other_origins), *private],
    )
    app.add_api_route("/metrics", service.metrics, dependencies=private)
    app.add_api_route("/model", service.model, dependencies=private)
    app.add_api_route("/health", service.health)
    # Browsers ask for it by themselves.
    app.add_api_route("/favicon.ico", lambda: Response(status_code=204), include_in_schema=False)
    app.add_api_route("/", lambda: HTMLResponse(content), include_in_schema=False)
    return app


class Service:
    """The model with its queue and counters; one method per address."""

    def __init__(self, segmentor: Segmentor, name: str, limits: ServiceLimits) -> None:
        self.segmentor, self.name, self.limits = segmentor, name, limits
        self.counters = Counters()
        self.worker = BatchWorker(
            segmentor.predict,
            max_batch=limits.max_batch,
            max_pixels=limits.batch_pixels,
            max_wait=limits.max_wait,
            max_queue=limits.max_queue + limits.max_batch,
            observe=self.counters.add_batch,
        )
        self.uploads = Uploads(limits)
        self._pixels = PixelBudget(limits.max_pixels)
        self._in_progress = 0

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count the answer to a request."""
        if path == "/predict":
            self.counters.add_request(status, seconds)

    async def predict(
        self,
        request: Request,
        format: Format = "json",
        threshold: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        min_area: Annotated[int | None, Query(ge=1)] = None,
        style: Style | None = None,
    ) -> Response:
        """Labels and anomalies of one image: the body itself, or the form field `image`.

        `threshold` (on the score) and `min_area` override those of the service; `style` is that
        of an overlay.
        """
        start = time.monotonic()
        rule = _adjusted(self.segmentor.decision_rule, threshold, min_area)
        try:
            self._check_free()  # before anybody sends a body for nothing
            async with self.uploads.image(request) as body:
                with self._place():
                    answer = self._answer(
                        body, rule, partial(render, format=format, style=style), start
                    )
                    return await _unless_gone(request, answer, self.limits.timeout)
        except ClientDisconnect:
            client = request.client.host if request.client else "unknown"
            logger.info("%s went away after %.3g s", client, time.monotonic() - start)
            return Response(status_code=CLIENT_CLOSED_REQUEST)

    def _check_free(self) -> None:
        if not self.worker.alive:
            raise HTTPException(503, f"the model has ended: {self.worker.error!r}")
        if self._in_progress >= self.limits.max_queue + self.limits.max_batch:
            raise busy(f"{self._in_progress} requests are in progress")

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        self._check_free()
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    async def _answer(
        self,
        body: bytes,
        rule: DecisionRule,
        rendered: Callable[[AnomalyResult], Response],
        start: float,
    ) -> Response:
        """The response to an image, once the service has room for its pixels."""
        try:
            stated = await run_in_threadpool(pixels_stated, body, "in the body")
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        most = self.limits.max_pixels
        async with self._pixels.hold(most if stated is None else min(stated, most)):
            image = await run_in_threadpool(self._decode, body)
            small = await run_in_threadpool(reduced, image, self.limits.batch_pixels)
            try:
                prediction = await asyncio.wrap_future(self.worker.submit(small))
                prediction = await run_in_threadpool(enlarged, prediction, small, image.shape[:2])
                result = await run_in_threadpool(self._result, image, prediction, rule, start)
            except Busy as error:
                raise busy(str(error)) from error
            except ModelStopped as error:
                raise HTTPException(503, str(error)) from error
            except Exception as error:
                raise HTTPException(500, f"the model failed: {error}") from error
            response = await run_in_threadpool(rendered, result)
        if small is not image:
            await run_in_threadpool(give_back_memory)
            response.headers["X-Reduced-To"] = f"{small.shape[1]}x{small.shape[0]}"
        return response

    def _decode(self, body: bytes) -> np.ndarray:
        try:
            image = decode_image(body, source="in the body", max_pixels=self.limits.max_pixels)
            if isinstance(self.segmentor.decision_rule.region, MaskRegion):
                self.segmentor.decision_rule.region.check_size(image.shape[:2])
            return image
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    def _result(
        self, image: np.ndarray, prediction: Prediction, rule: DecisionRule, start: float
    ) -> AnomalyResult:
        latency = {"model": time.monotonic() - start}
        return self.segmentor.result(Frame(image, "image"), prediction, latency, rule=rule)

    async def health(self) -> JSONResponse:
        """Whether the thread of the model is alive."""
        alive = self.worker.alive
        content = {"status": "ok" if alive else "failed", "model": self.name}
        return JSONResponse(content | {"version": __version__}, 200 if alive else 503)

    async def metrics(self) -> PlainTextResponse:
        """Counters in the text format of Prometheus."""
        text = self.counters.text(waiting=self.worker.waiting)
        return PlainTextResponse(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def model(self) -> dict[str, Any]:
        """Facts about the model and the limits of the service."""
        rule = self.segmentor.decision_rule
        return {
            "model": self.name,
            "version": __version__,
            "classes": list(self.segmentor.palette.classes),
            "colours": [list(colour) for colour in self.segmentor.palette.colours],
            "score": self.segmentor.score_name,
            "thresholds": self.segmentor.thresholds,
            "operating_point": rule.operating_point,
            "threshold": rule.threshold,
            "min_area": rule.min_area,
            "calibration": self.segmentor.calibration_facts(),
            "max_bytes": self.limits.max_bytes,
            "max_pixels": self.limits.max_pixels,
            "batch_pixels": self.limits.batch_pixels,
        }


async def _unless_gone(
    request: Request, answer: Coroutine[Any, Any, Response], timeout: float
) -> Response:
    """The answer to a request whose body has been read.

    Raises:
        ClientDisconnect: the client has gone before it; nobody needs the answer then.
        HTTPException: 504, it takes too long.
    """
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        done, _ = await asyncio.wait(
            {work, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if work in done:
            return work.result()
        if gone in done:
            raise ClientDisconnect
        raise HTTPException(504, f"no result within {timeout} s")
    finally:
        work.cancel()
        gone.cancel()
        # What runs in a thread comes to its end first.
        await asyncio.gather(work, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _adjusted(rule: DecisionRule, threshold: float | None, min_area: int | None) -> DecisionRule:
    """The decision rule with the settings of the request."""
    if threshold is not None:
        rule = replace(rule, threshold=threshold, operating_point=None)
    return rule if min_area is None else replace(rule, min_area=min_area)
