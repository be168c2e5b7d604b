"""ONNX Runtime and OpenVINO behind one interface: an array in, arrays by name out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

RUNTIMES = ("onnxruntime", "openvino")
# A run on more pixels takes over a gigabyte in the usual models, which is given back after it.
_LARGE_BATCH = 1 << 22


class TensorType(NamedTuple):
    """Type of an input or output of a graph.

    Attributes:
        kind: such as `uint8` or `float32`.
        rank: number of axes; 0 where the file does not state it.
        shape: length of each axis; 0 where the file leaves it open.
    """

    kind: str
    rank: int
    shape: tuple[int, ...] = ()


class Signature(NamedTuple):
    """What a model file states about its graph.

    Attributes:
        properties: `metadata_props` of the file.
        inputs: by name.
        outputs: by name, in the order of the graph.
    """

    properties: dict[str, str]
    inputs: dict[str, TensorType]
    outputs: dict[str, TensorType]


class Runtime(Protocol):
    """A loaded model.

    Attributes:
        signature: of the graph.
    """

    signature: Signature

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name."""


def open_runtime(
    path: Path, runtime: str, *, device: str | None = None, threads: int | None = None
) -> Runtime:
    """Load a model file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown runtime or device, or a file that cannot be read.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime: expected {' or '.join(RUNTIMES)}, got {runtime!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if not path.is_file():
        raise FileNotFoundError(f"model {path} does not exist; `ood-seg export-onnx` writes one")
    kind = OnnxRuntime if runtime == "onnxruntime" else OpenVino
    return kind(path, device, threads)


class OnnxRuntime:
    """ONNX Runtime on a CPU or an NVIDIA GPU; see `open_runtime`."""

    def __init__(self, path: Path, device: str | None, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; they need not be printed as well
        # It holds the memory of a second run in reserve; sizes vary here.
        options.enable_mem_pattern = False
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = _providers(device, onnxruntime.get_available_providers())
        self._session = _session(path, options, providers)
        if device is not None:
            _check_device(device, providers, self._session.get_providers())
        self.signature = _signature(self._session, path)
        self._giving_back = onnxruntime.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        on_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        is_large = on_cpu and image.size > 3 * _LARGE_BATCH
        options = self._giving_back if is_large else None
        arrays = self._session.run(None, {next(iter(self.signature.inputs)): image}, options)
        return dict(zip(self.signature.outputs, arrays, strict=True))


class OpenVino:
    """OpenVINO on a CPU or another of its devices; see `open_runtime`."""

    def __init__(self, path: Path, device: str | None, threads: int | None) -> None:
        import onnxruntime

        openvino = _openvino()
        # OpenVINO discards the metadata of the file.
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised; they need not be printed as well
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = _session(path, options, ["CPUExecutionProvider"])
        self.signature = _signature(session, path)
        del session
        # On some CPUs the default is half precision, which would change the scores.
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = openvino.Core().compile_model(str(path), device or "CPU", settings)
        except Exception as error:  # its errors have no common base class
            raise ValueError(f"{path}: OpenVINO cannot run it: {_reason(error)}") from error

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        arrays = self._model([image]).to_tuple()
        return dict(zip(self.signature.outputs, map(np.asarray, arrays), strict=True))


def _openvino() -> Any:
    """The package without its telemetry, which prints tracebacks where there is no network."""
    name = "openvino_telemetry"
    is_blocked = name not in sys.modules
    if is_blocked:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if is_blocked:
            del sys.modules[name]
    return openvino


def _signature(session: Any, path: Path) -> Signature:
    try:
        return Signature(
            dict(session.get_modelmeta().custom_metadata_map),
            {one.name: _tensor_type(one) for one in session.get_inputs()},
            {one.name: _tensor_type(one) for one in session.get_outputs()},
        )
    except Exception as error:  # such as names that are not UTF-8
        raise ValueError(f"{path}: its metadata are damaged ({_reason(error)})") from error


def _tensor_type(argument: Any) -> TensorType:
    """Type of an input or output of a session, such as `tensor(float)`."""
    kind = str(argument.type).removeprefix("tensor(").removesuffix(")")
    shape = tuple(side if isinstance(side, int) else 0 for side in argument.shape or ())
    return TensorType("float32" if kind == "float" else kind, len(shape), shape)


def _session(path: Path, options: Any, providers: list[Any]) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its errors have no common base class
        raise ValueError(
            f"{path} is not an ONNX model that ONNX Runtime can load ({_reason(error)}); if it is "
            "truncated or damaged, copy or export it again"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _check_device(device: str, wanted: list[Any], used: list[str]) -> None:
    """Raise a ValueError if ONNX Runtime has silently fallen back to the CPU."""
    name = wanted[0] if isinstance(wanted[0], str) else wanted[0][0]
    if name not in used:
        raise ValueError(
            f"device {device!r} cannot be used: ONNX Runtime could not load {name} and would run "
            "on the CPU; check that the CUDA and cuDNN versions it needs are installed"
        )


def _providers(device: str | None, available: list[str]) -> list[Any]:
    """Execution providers for `cpu`, `cuda`, `cuda:1`, `tensorrt`; None: a GPU if available."""
    names = {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "Tensorrt"}
    kind, _, index = (device or "").partition(":")
    if device is None:
        kind = "cuda" if "CUDAExecutionProvider" in available else "cpu"
    if kind not in names or (index and not index.isdigit()):
        raise ValueError(f"device: expected cpu, cuda, cuda:1, tensorrt, ..., got {device!r}")
    wanted = f"{names[kind]}ExecutionProvider"
    if wanted not in available:
        raise ValueError(
            f"device {device!r} cannot be used: this ONNX Runtime has {', '.join(available)}; "
            "onnxruntime-gpu contains CUDA and TensorRT"
        )
    if kind == "cpu":
        return [wanted]
    chosen = [(wanted, {"device_id": int(index or 0)})]
    if kind == "tensorrt" and "CUDAExecutionProvider" in available:
        chosen.append(("CUDAExecutionProvider", {"device_id": int(index or 0)}))
    return [*chosen, "CPUExecutionProvider"]
