"""The HTTP service: image in; JSON, PNG or scores out.

```
POST /predict -> admission (429 when full) -> body (413 when large, 408 when it does not come)
              -> decode (422 when no image, or not of the size that --region mask:FILE is for)
              -> BatchWorker -> Prediction -> DecisionRule
              -> json | overlay | labels | mask | scores
GET  /        the page          GET /model    classes, thresholds, limits
GET  /health  200 or 503        GET /metrics  for Prometheus
```
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException

from ood_seg import __version__
from ood_seg.io.images import decode_image
from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.regions import MaskRegion
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Frame
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.serving.batching import BatchWorker, Busy
from ood_seg.serving.counters import Counters

Format = Literal["json", "overlay", "labels", "mask", "scores"]


@dataclass(frozen=True)
class ServiceLimits:
    """What the service accepts.

    Attributes:
        max_bytes: of a request's body.
        max_pixels: of an image, known before it is decoded.
        max_batch: images of one run of the model.
        max_wait: seconds that an image may wait for others to run with.
        max_queue: requests under way beyond those in the model; more are answered with 429.
        timeout: seconds until a request is given up: 408 while its body is read, 504 while it
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
    """The application, for uvicorn or any other ASGI server.

    Args:
        segmentor: the model; called from one thread only.
        name: of the model, told by `/model` and `/health`.
        limits: what is accepted.
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
    """Middleware that stops reading a body that is too large, whatever its header says."""

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
    """Holds the model, its queue and the counters; one method for each address."""

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
        self._under_way = 0

    async def predict(
        self,
        request: Request,
        format: Format = "json",
        threshold: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        min_area: Annotated[int | None, Query(ge=1)] = None,
    ) -> Response:
        """Labels and anomalies of one image: the body itself, or the form field `image`.

        `threshold` (on the score) and `min_area` replace those that the service was started with.
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
        except AnyHTTPException as error:  # a damaged form is refused by Starlette itself
            status = error.status_code
            raise
        finally:
            self.counters.add_request(status, time.monotonic() - start)

    @contextlib.contextmanager
    def _admission(self) -> Iterator[None]:
        """Refuse before the body is read, so that waiting requests cannot fill the memory."""
        if self._under_way >= self.limits.max_queue + self.limits.max_batch:
            raise _busy(f"{self._under_way} requests are under way already")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _body(self, request: Request) -> bytes:
        """The image's bytes; a client that stops sending must not keep its place for ever."""
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
            raise HTTPException(504, f"no answer within {self.limits.timeout} s") from error
        except Exception as error:
            raise HTTPException(500, f"the model failed: {error}") from error

    async def health(self) -> JSONResponse:
        """Whether images are being worked on."""
        alive = self.worker.alive
        content = {"status": "ok" if alive else "failed", "model": self.name}
        return JSONResponse(content | {"version": __version__}, 200 if alive else 503)

    async def metrics(self) -> PlainTextResponse:
        """Counters in Prometheus' text format."""
        text = self.counters.text(waiting=self.worker.waiting)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def model(self) -> dict[str, Any]:
        """What a client may want to know of the model."""
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
    """The page to drop an image on."""
    return HTMLResponse(resources.files(__package__).joinpath("page.html").read_text("utf-8"))


def render(result: AnomalyResult, format: Format) -> Response:
    """The answer in the format that was asked for.

    Raises:
        HTTPException: 409, a mask is asked for and there is no threshold.
    """
    if format == "json":
        return JSONResponse(result.to_dict())
    if format == "scores":
        stream = io.BytesIO()
        np.save(stream, result.anomaly.astype(np.float32, copy=False))
        return Response(stream.getvalue(), media_type="application/octet-stream")
    if format == "labels":
        return _png(result.labels)
    if format == "overlay":
        return _png(result.plot())
    if result.mask is None:
        raise HTTPException(409, "a mask needs a threshold: give ?threshold=NUMBER")
    return _png(result.mask * np.uint8(255))


def _png(picture: np.ndarray) -> Response:
    return Response(cv2.imencode(".png", picture)[1].tobytes(), media_type="image/png")


def _busy(message: str) -> HTTPException:
    return HTTPException(429, f"{message}; try again", headers={"Retry-After": "1"})


async def _body(request: Request) -> bytes:
    """The image's bytes: the whole body, or the file in the form field `image`."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form() as form:
        field = form.get("image")
        if not isinstance(field, UploadFile):
            names = ", ".join(form) or "none"
            raise HTTPException(422, f"expected a file in the form field 'image', got {names}")
        return await field.read()


def _adjusted(rule: DecisionRule, threshold: float | None, min_area: int | None) -> DecisionRule:
    """The decision rule with the request's own settings."""
    if threshold is not None:
        rule = replace(rule, threshold=threshold, operating_point=None)
    return rule if min_area is None else replace(rule, min_area=min_area)
