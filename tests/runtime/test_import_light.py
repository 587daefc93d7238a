"""Which libraries importing and using the runtime loads, in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import toys

HEAVY = (
    "{'torch', 'triton', 'tensorrt', 'pycuda', 'cuda', 'onnx', 'openvino', 'matplotlib', 'tkinter'}"
)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"""
import sys, st.runtime
print(sorted(({HEAVY} | {{'onnxruntime', 'cv2', 'numpy'}}) & set(sys.modules)))
"""
    assert run(code) == "[]"


def test_painting_loads_no_training_or_export_library(tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    code = f"""
import sys
from st.runtime import Stylizer
import numpy as np
painted = Stylizer({str(engine)!r}, device='cpu')(np.zeros((4, 4, 3), np.uint8))
assert painted.min() == 255
print(sorted({HEAVY} & set(sys.modules)))
"""
    assert run(code) == "[]"


def test_onnx_runtime_telemetry_is_off() -> None:
    assert (
        run(
            "import os, st.runtime.backends.onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
        )
        == "1"
    )


def test_openvino_telemetry_is_off(tmp_path: Path) -> None:
    """It also starts no process for telemetry, which a forked child would wait for."""
    pytest.importorskip("openvino")
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    code = f"""
import multiprocessing.process, sys
multiprocessing.process.BaseProcess.start = lambda process: print("started", process)
from st.runtime import Stylizer
Stylizer({str(engine)!r}, device='openvino')
print([name for name in sys.modules if name.startswith('openvino_telemetry')])
"""
    assert run(code) == "[]"


def test_all_public_names_can_be_imported() -> None:
    assert run("import st.runtime as r; print([n for n in r.__all__ if not getattr(r, n)])") == "[]"


def test_an_unknown_name_raises_attribute_error() -> None:
    assert run("import st.runtime; print(hasattr(st.runtime, 'Stylizt'))") == "False"
