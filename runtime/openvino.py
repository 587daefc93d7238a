"""Engines on OpenVINO, the faster CPU backend: float32, or bfloat16 where the processor has it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st.runtime.backend import Port, check_process
from st.runtime.errors import BadEngine, MissingExtra, StError, Unavailable, printable
from st.runtime.forks import keep_in_children
from st.runtime.metadata import Metadata

DTYPES = {"u8": "uint8", "f32": "float32", "i64": "int64"}
PRECISION = "INFERENCE_PRECISION_HINT"
REPORTER = "openvino_telemetry"


class OpenVinoBackend:
    """See st.runtime.backend.Backend. Runs of several threads take turns: each uses all threads."""

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
            "ENABLE_CPU_PINNING": False,  # the system knows better where other work runs
        }
        if device == "openvino-bf16":
            has = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in has:
                raise Unavailable("this processor has no bfloat16: use openvino or cpu")
        try:
            self._model = self._core.read_model(data)
            self.inputs: Mapping[str, Port] = {p.any_name: _port(p) for p in self._model.inputs}
            self.outputs: Mapping[str, Port] = {p.any_name: _port(p) for p in self._model.outputs}
            # For the outputs last asked for. Only one is kept: each holds memory for its maps.
            self._request = self._compile(tuple(self.outputs)[:1])
        except RuntimeError as error:
            raise BadEngine(f"OpenVINO cannot open it: {_reason(error)}") from None

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        check_process(self._process)
        names = tuple(outputs)
        with self._lock:
            if self._request is None:
                raise StError("this engine is closed")
            try:
                if self._request[0] != names:
                    self._request = self._compile(names)
                results = self._request[1].infer(dict(inputs), share_inputs=True)
                return [np.array(results[i]) for i in range(len(names))]
            except RuntimeError as error:
                raise StError(f"the engine failed on this picture: {_reason(error)}") from None

    def _compile(self, outputs: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
        """(names of the outputs, a request that computes these and no more)."""
        ports = [self._model.output(name) for name in outputs]
        part = self._ov.Model(
            [port.get_node().input_value(0) for port in ports], self._model.get_parameters()
        )
        compiled = self._core.compile_model(part, "CPU", self._settings)
        used = compiled.get_property(PRECISION).get_type_name()
        if used != self._settings[PRECISION]:
            raise Unavailable(f"OpenVINO computes in {used} here: use cpu")
        request = compiled.create_infer_request()
        keep_in_children(request)
        return outputs, request

    def close(self) -> None:
        with self._lock:
            self._request = None


def _load() -> tuple[Any, Any]:
    # Importing OpenVINO reports the import to Google Analytics, from a process of its own, unless
    # the user has opted out. With its reporting package hidden it uses a stand-in that is silent.
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
    """OpenVINO's messages open with lines of its own source files; the last line says what."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '", "While "))]
    return printable((told or lines or ["unknown"])[0], 200)
