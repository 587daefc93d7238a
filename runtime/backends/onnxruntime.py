"""The ONNX Runtime backend: the devices `cpu`, `cuda` and `rtx`.

`cuda` needs onnxruntime-gpu. `rtx` is the TensorRT-RTX execution provider (extra `tensorrt-rtx`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from st.runtime.backends.base import NO_BUFFERS, Port, check_process
from st.runtime.backends.onnxruntime_library import ort
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.onnx_file import cut
from st.runtime.errors import DISTRIBUTION, BadEngine, StError, Unavailable, printable
from st.runtime.system.fork_safety import keep_in_children

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64"}
SILENT = 4  # log level: fatal only, since every other failure is raised as an exception


class OrtBackend:
    """See st.runtime.backends.base.Backend."""

    def __init__(self, data: bytes, metadata: Metadata, device: str, threads: int) -> None:
        self.metadata = metadata
        self.device = device
        self._session: ort.InferenceSession | None = _open(data, device, threads)
        try:
            ports = self._session.get_inputs(), self._session.get_outputs()
            self.inputs: Mapping[str, Port] = {port.name: _port(port) for port in ports[0]}
            self.outputs: Mapping[str, Port] = {port.name: _port(port) for port in ports[1]}
        except UnicodeDecodeError:
            raise BadEngine("a name in its graph is not valid UTF-8") from None
        self._process = os.getpid()
        self._options = ort.RunOptions()
        self._options.log_severity_level = SILENT
        self._threads = threads
        self._lock = threading.Lock()
        # A model of several outputs is reduced to the requested ones, and reopened if they change.
        self._data = data if len(self.outputs) > 1 else b""
        self._asked = tuple(self.outputs)

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        buffers: Mapping[str, NDArray[Any]] = NO_BUFFERS,
    ) -> list[NDArray[Any]]:
        check_process(self._process)
        session = self._session_for(tuple(outputs))
        try:
            if buffers and self.device == "cpu":
                return self._run_into(session, inputs, outputs, buffers)
            return session.run(list(outputs), dict(inputs), self._options)  # pyright: ignore[reportReturnType]
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            raise run_error(error) from None

    def _run_into(
        self,
        session: ort.InferenceSession,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        buffers: Mapping[str, NDArray[Any]],
    ) -> list[NDArray[Any]]:
        """Run into buffers, which saves a copy and new pages of memory."""
        binding = session.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, values)
        for name in outputs:
            if name in buffers:
                values = buffers[name]
                place = values.dtype, values.shape, values.ctypes.data
                binding.bind_output(name, "cpu", 0, *place)
            else:
                binding.bind_output(name)
        session.run_with_iobinding(binding, self._options)
        made = zip(outputs, binding.get_outputs(), strict=True)
        return [buffers[name] if name in buffers else value.numpy() for name, value in made]

    def close(self) -> None:
        with self._lock:
            self._session, self._data = None, b""

    def _session_for(self, outputs: tuple[str, ...]) -> ort.InferenceSession:
        with self._lock:
            if self._session is None:
                raise StError("this engine is closed")
            if self._asked != outputs:
                self._session = _open(cut(self._data, outputs), self.device, self._threads)
                self._asked = outputs
            return self._session


def run_error(error: Exception) -> StError:
    """Convert the exception of a failed run to an error with a one-line message."""
    text = str(error)
    if "bad_alloc" in text or "llocate memory" in text or isinstance(error, MemoryError):
        return StError("out of memory: try a smaller picture or a smaller batch")
    return BadEngine(f"the engine failed on this picture: {printable(text, 300)}")


def _open(data: bytes, device: str, threads: int) -> ort.InferenceSession:
    if device == "cuda" and CUDA not in ort.get_available_providers():
        raise Unavailable(
            "this ONNX Runtime does not support CUDA: pip uninstall onnxruntime, then "
            f"pip install '{DISTRIBUTION}[cuda]'"
        )
    if device == "cuda":
        ort.set_default_logger_severity(SILENT)  # a missing driver would log many lines
        ort.preload_dlls()  # CUDA libraries of NVIDIA's wheels, if installed
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The data was validated as ONNX; ONNX Runtime must not read it as its own ORT format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Threads spin within a run, which is faster, but not between runs, to free the processor.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers = {"cuda": [CUDA, CPU], "cpu": [CPU], "rtx": None}[device]  # None: in the options
    if device == "rtx":
        ort.set_default_logger_severity(SILENT)
        from st.runtime.backends.onnxruntime_rtx import add_rtx

        add_rtx(options)
    try:
        session = ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors share no base but Exception
        if device != "cpu":
            library = {"cuda": "CUDA", "rtx": "TensorRT-RTX"}[device]
            raise Unavailable(f"{library} is not available: {printable(error)}") from None
        raise BadEngine(f"ONNX Runtime cannot open it: {printable(error)}") from None
    keep_in_children(session)
    if device == "cuda" and CUDA not in session.get_providers():
        raise Unavailable(
            "ONNX Runtime could not load CUDA: check nvidia-smi, and the CUDA and cuDNN versions "
            "that onnxruntime-gpu requires"
        )
    if device == "rtx" and all("RTX" not in name for name in session.get_providers()):
        raise Unavailable("TensorRT-RTX supports no operator of this engine: use cpu")
    return session


def _port(arg: Any) -> Port:
    sizes = tuple(size if isinstance(size, int) else None for size in arg.shape)
    return Port(DTYPES.get(arg.type, str(arg.type)), sizes)
