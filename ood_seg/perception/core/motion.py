"""Dense motion between two frames, and maps warped along it.

    grey frames -> backward_motion -> flow (H,W,2), trusted (H,W)
    map of the previous frame, flow -> warped -> map at the positions of the current frame

The flow is backward: pixel (x, y) of the current frame was at (x, y) + flow in the previous frame.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Sundaram, Brox & Keutzer, ECCV 2010, equation 5.
_RELATIVE_ERROR, _ABSOLUTE_ERROR = 0.01, 0.5
_GREY_LEVELS = 20


def small_grey(image: np.ndarray, width: int) -> np.ndarray:
    """An image `(H, W, 3)` BGR as grey `(h, w)` uint8, at most `width` pixels wide."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if grey.shape[1] <= width:
        return grey
    height = max(1, round(grey.shape[0] * width / grey.shape[1]))
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def dense_inverse_search(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow from the first to the second frame (Kroeger et al., ECCV 2016, in OpenCV)."""
    method = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_FAST)
    frames = np.ascontiguousarray(first), np.ascontiguousarray(second)
    return method.calc(*frames, None)  # type: ignore[call-overload]


def backward_motion(
    previous: np.ndarray, current: np.ndarray, estimate: Estimate = dense_inverse_search
) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the current frame was in the previous one.

    The flow of a pixel is trusted (that of newly uncovered pixels is not) if

    - following it back and forth ends at the start, `|b + f|^2 <= 0.01 (|b|^2 + |f|^2) + 0.5` with
      the backward flow b and the forward flow f at its end (Sundaram, Brox & Keutzer, ECCV 2010,
      equation 5);
    - the pixel was inside the previous frame; and
    - it had the same grey value there, to 20 levels in the mean of 3 x 3 pixels: where both flows
      miss a fast object, they agree with each other.

    Args:
        previous, current: grey, `(H, W)` uint8, both sides at least 16 pixels.
        estimate: returns the flow `(H, W, 2)` from its first to its second frame.

    Returns:
        Flow `(H, W, 2)` float32, x and y; and booleans `(H, W)`, where it is trusted.
    """
    backward, forward = estimate(current, previous), estimate(previous, current)
    back_again = warped(forward, backward)
    error, length = (np.square(flow).sum(axis=2) for flow in (backward + back_again, back_again))
    length += np.square(backward).sum(axis=2)
    trusted = error <= _RELATIVE_ERROR * length + _ABSOLUTE_ERROR
    change = cv2.absdiff(warped(previous, backward), current)
    return backward, trusted & inside(backward) & (cv2.blur(change, (3, 3)) <= _GREY_LEVELS)


def warped(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """A map of the previous frame at the positions of the current one.

    Args:
        values: `(H, W)` or `(H, W, C)`, float32 or uint8.
        flow: `(H, W, 2)` backward.

    Returns:
        Array of the shape of `values`: bilinear in steps of 1/32 pixel, with the nearest border
        value outside the previous frame.
    """
    x, y = cv2.split(_positions(flow))
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=border))


def inside(flow: np.ndarray) -> np.ndarray:
    """Booleans `(H, W)`: the pixel was in the previous frame."""
    height, width = flow.shape[:2]
    x, y = np.moveaxis(_positions(flow), 2, 0)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def resized_motion(
    flow: np.ndarray, trusted: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Flow and trusted pixels of small frames, resized to `size` (height, width)."""
    height, width = size
    if flow.shape[:2] == size:
        return flow, trusted
    factors = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * factors
    trusted = cv2.resize(trusted.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return flow, trusted.astype(bool)


def _positions(flow: np.ndarray) -> np.ndarray:
    """x and y in the previous frame, `(H, W, 2)` float32."""
    positions = flow.astype(np.float32)
    positions[..., 0] += np.arange(flow.shape[1], dtype=np.float32)
    positions[..., 1] += np.arange(flow.shape[0], dtype=np.float32)[:, None]
    return positions
