"""The HTTP service: image in; JSON, PNG or scores out.

```
POST /predict -> admission (429 if full) -> body (413 if too large, 408 if it does not arrive)
              -> decode (422 if not an image, or not of the size of --region mask:FILE)
              -> BatchWorker -> Prediction -> DecisionRule
              -> json | overlay | labels | mask | scores
GET  /        the page          GET /model    classes, thresholds, limits
GET  /health  200 or 503        GET /metrics  counters for Prometheus
```
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException

from ood_seg import __version__
from ood_seg.io.images import decode_image
from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.regions import MaskRegion
from ood_seg.perception.core.result import AnomalyResult, npy_bytes, png_bytes
from ood_seg.perception.core.types import Frame
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.serving.batching import BatchWorker, Busy
from ood_seg.serving.counters import Counters

Format = Literal["json", "overlay", "labels", "mask", "scores"]


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of the service.

    Attributes:
        max_bytes: of the body of a request.
        max_pixels: of an image.
        max_batch: images of one run of the model.
        max_wait: seconds that an image may wait for others of its batch.
        max_queue: requests in progress beyond those of a batch; more are answered with 429.
        timeout: seconds until a request is abandoned: 408 while its body is read, 504 while it
            waits for the model.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 16_000_000
    max_batch: int = 4
    max_wait: float = 0.005
    max_queue: int = 32
    timeout: float = 60.0


def create_app(
    segmentor: Segmentor, *, name: str = "", limits: ServiceLimits = ServiceLimits()
) -> FastAPI:
    """Return the application, for uvicorn or another ASGI server.

    Args:
        segmentor: the model; called from one thread only.
        name: of the model, shown by `/model` and `/health`.
        limits: see `ServiceLimits`.
    """
    service = Service(segmentor, name, limits)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.worker.close)

    app = FastAPI(title="ood_seg", version=__version__, lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=limits.max_bytes)
    app.add_api_route("/predict", service.predict, methods=["POST"], response_class=Response)
    app.add_api_route("/health", service.health)
    app.add_api_route("/metrics", service.metrics, response_class=PlainTextResponse)
    app.add_api_route("/model", service.model)
    app.add_api_route("/", page, response_class=HTMLResponse, include_in_schema=False)
    return app


class BodyLimit:
    """Middleware that stops reading a body that is too large, whatever length its header states."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        seen = 0

        async def limited() -> dict:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                raise HTTPException(413, f"the body is larger than {self.max_bytes} bytes")
            return message

        await self.app(scope, limited, send)


class Service:
    """The model with its queue and counters; one method per address."""

    def __init__(self, segmentor: Segmentor, name: str, limits: ServiceLimits) -> None:
        self.segmentor, self.name, self.limits = segmentor, name, limits
        self.counters = Counters()
        self.worker = BatchWorker(
            segmentor.predict,
            max_batch=limits.max_batch,
            max_wait=limits.max_wait,
            max_queue=limits.max_queue + limits.max_batch,
            observe=self.counters.add_batch,
        )
        self._in_progress = 0

    async def predict(
        self,
        request: Request,
        format: Format = "json",
        threshold: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        min_area: Annotated[int | None, Query(ge=1)] = None,
    ) -> Response:
        """Labels and anomalies of one image: the body itself, or the form field `image`.

        `threshold` (on the score) and `min_area` override those of the service.
        """
        start, status = time.monotonic(), 500
        try:
            with self._admission():
                image = await run_in_threadpool(self._decode, await self._body(request))
                rule = _adjusted(self.segmentor.decision_rule, threshold, min_area)
                result = await self._result(image, rule, start)
                response = await run_in_threadpool(render, result, format)
            status = response.status_code
            return response
        except AnyHTTPException as error:  # Starlette itself refuses damaged forms
            status = error.status_code
            raise
        finally:
            self.counters.add_request(status, time.monotonic() - start)

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        """Refuse before the body is read, so that waiting requests cannot fill the memory."""
        if self._in_progress >= self.limits.max_queue + self.limits.max_batch:
            raise _busy(f"{self._in_progress} requests are in progress")
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    async def _body(self, request: Request) -> bytes:
        """The content of the image; a client that stops sending must not block its place."""
        try:
            return await asyncio.wait_for(_body(request), self.limits.timeout)
        except asyncio.TimeoutError as error:
            message = f"the body did not arrive within {self.limits.timeout} s"
            raise HTTPException(408, message) from error

    def _decode(self, body: bytes) -> np.ndarray:
        try:
            image = decode_image(body, source="the body", max_pixels=self.limits.max_pixels)
            if isinstance(self.segmentor.decision_rule.region, MaskRegion):
                self.segmentor.decision_rule.region.check_size(image.shape[:2])
            return image
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    async def _result(self, image: np.ndarray, rule: DecisionRule, start: float) -> AnomalyResult:
        """Wait for the model and apply the decision rule."""
        try:
            future = asyncio.wrap_future(self.worker.submit(image))
            prediction = await asyncio.wait_for(future, self.limits.timeout)
            return await run_in_threadpool(
                rule,
                Frame(image, "image"),
                prediction,
                palette=self.segmentor.palette,
                score_name=self.segmentor.score_name,
                latency={"model": time.monotonic() - start},
            )
        except Busy as error:
            raise _busy(str(error)) from error
        except asyncio.TimeoutError as error:
            raise HTTPException(504, f"no result within {self.limits.timeout} s") from error
        except Exception as error:
            raise HTTPException(500, f"the model failed: {error}") from error

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
            "max_bytes": self.limits.max_bytes,
            "max_pixels": self.limits.max_pixels,
        }


def page() -> HTMLResponse:
    """The page for trying the model on an image."""
    return HTMLResponse(resources.files(__package__).joinpath("page.html").read_text("utf-8"))


def render(result: AnomalyResult, format: Format) -> Response:
    """Return the result in the requested format.

    Raises:
        HTTPException: 409, a mask is requested and there is no threshold.
    """
    if format == "json":
        return JSONResponse(result.to_dict())
    if format == "scores":
        return Response(npy_bytes(result.anomaly), media_type="application/octet-stream")
    if format == "labels":
        return _png(result.labels)
    if format == "overlay":
        return _png(result.overlay())
    if result.mask is None:
        raise HTTPException(409, "a mask needs a threshold: give ?threshold=NUMBER")
    return _png(result.mask * np.uint8(255))


def _png(image: np.ndarray) -> Response:
    return Response(png_bytes(image), media_type="image/png")


def _busy(message: str) -> HTTPException:
    return HTTPException(429, f"{message}; try again", headers={"Retry-After": "1"})


async def _body(request: Request) -> bytes:
    """The content of the image: the whole body, or the file in the form field `image`."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form() as form:
        field = form.get("image")
        if not isinstance(field, UploadFile):
            names = ", ".join(form) or "none"
            raise HTTPException(422, f"expected a file in the form field 'image', got {names}")
        return await field.read()


def _adjusted(rule: DecisionRule, threshold: float | None, min_area: int | None) -> DecisionRule:
    """The decision rule with the settings of the request."""
    if threshold is not None:
        rule = replace(rule, threshold=threshold, operating_point=None)
    return rule if min_area is None else replace(rule, min_area=min_area)
