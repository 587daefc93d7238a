"""The OpenVINO backend, the faster one on CPUs: float32, or bfloat16 if the processor has it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.base import NO_BUFFERS, Port, check_process
from st.runtime.backends.openvino_cache import PRECISION, Kind, Requests
from st.runtime.backends.openvino_graph import optimize_graph
from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadEngine, MissingExtra, StError, Unavailable, printable

DTYPES = {"u8": "uint8", "f32": "float32", "i64": "int64"}
REPORTER = "openvino_telemetry"


class OpenVinoBackend:
    """See st.runtime.backends.base.Backend. Runs are serialized: each uses all threads."""

    def __init__(self, data: bytes, metadata: Metadata, device: str, threads: int) -> None:
        self.metadata = metadata
        self.device = device
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._ov, self._core = _load()
        self._settings = {
            PRECISION: "bf16" if device == "openvino-bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # the scheduler knows which cores are busy
        }
        if device == "openvino-bf16":
            has = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in has:
                raise Unavailable("this processor does not support bfloat16: use openvino or cpu")
        try:
            self._model = self._core.read_model(data)
            optimize_graph(self._ov, self._model)
            self.inputs: Mapping[str, Port] = {p.any_name: _port(p) for p in self._model.inputs}
            self.outputs: Mapping[str, Port] = {p.any_name: _port(p) for p in self._model.outputs}
            self._requests = Requests(self._ov, self._core, self._model, self._settings)
            # Compile now, so that an unsupported operator fails here and not at the first picture.
            self._requests.get(Kind(tuple(self.outputs)[:1], None, ()))
        except RuntimeError as error:
            raise BadEngine(f"OpenVINO cannot open it: {_reason(error)}") from None

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        buffers: Mapping[str, NDArray[Any]] = NO_BUFFERS,
    ) -> list[NDArray[Any]]:
        check_process(self._process)
        with self._lock:
            if self._requests is None:
                raise StError("this engine is closed")
            try:
                kind = self._requests.kind(inputs, tuple(outputs))
                request = self._requests.get(kind)
                given = {k: v for k, v in inputs.items() if k not in dict(kind.held)}
                if not kind.sizes:
                    buffers = NO_BUFFERS
                with self._writing_to(request, outputs, buffers):
                    results = request.infer(given, share_inputs=True)
                    made = enumerate(outputs)
                    return [buffers[n] if n in buffers else np.array(results[i]) for i, n in made]
            except RuntimeError as error:
                raise StError(f"the engine failed on this picture: {_reason(error)}") from None

    @contextlib.contextmanager
    def _writing_to(
        self, request: Any, outputs: Sequence[str], buffers: Mapping[str, NDArray[Any]]
    ) -> Iterator[None]:
        """Let a request write its outputs into buffers."""
        places = [i for i, name in enumerate(outputs) if name in buffers]
        own = [request.get_output_tensor(i) for i in places]
        try:
            for i in places:
                values = buffers[outputs[i]]
                request.set_output_tensor(i, self._ov.Tensor(values, shared_memory=True))
            yield
        finally:
            for i, tensor in zip(places, own, strict=True):
                request.set_output_tensor(i, tensor)

    def close(self) -> None:
        with self._lock:
            self._requests = None


def _load() -> tuple[Any, Any]:
    # OpenVINO reports its import to Google Analytics, from a separate process, unless the user
    # opted out. If its telemetry package cannot be imported, it uses a silent stub instead.
    hidden = REPORTER not in sys.modules
    if hidden:
        sys.modules[REPORTER] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise MissingExtra("OpenVINO", "openvino") from None
    finally:
        if hidden:
            del sys.modules[REPORTER]
    return openvino, openvino.Core()


def _port(port: Any) -> Port:
    kind = str(port.get_element_type().get_type_name())
    sizes = tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())
    return Port(DTYPES.get(kind, kind), sizes)


def _reason(error: RuntimeError) -> str:
    """The reason in an OpenVINO error, without the lines that name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '", "While "))]
    return printable((told or lines or ["unknown"])[0], 200)
