"""The kernels and the plugin on an NVIDIA GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.plugin import references

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SHAPES = [(1, 512, 45, 80), (2, 64, 360, 640), (1, 3, 1, 1), (2, 130, 33, 17)]


def data(shape: tuple[int, ...], half: bool) -> np.ndarray[Any, Any]:
    values = 10 + np.random.default_rng(0).standard_normal(shape)
    return values.astype("f2" if half else "f4")


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_on_cuda_against_float64(shape: tuple[int, ...], half: bool) -> None:
    from st.export.plugin import cuda

    x = data(shape, half)
    channels = shape[1]
    random = np.random.default_rng(1)
    scale, shift = (random.standard_normal((1, channels)).astype("f4") for _ in range(2))
    matrix = random.standard_normal((1, channels, channels)).astype("f4") / channels**0.5
    on = [torch.from_numpy(a).cuda() for a in (x, scale, shift, matrix)]
    limit = 5e-3 if half else 2e-4

    styled = cuda.adain(on[0], on[1], on[2]).cpu().double().numpy()
    wanted = references.adain(x, scale, shift)
    assert np.abs(styled - wanted).max() <= limit * max(1.0, float(np.abs(wanted).max()))

    mean, covariance = (t.cpu().double().numpy() for t in cuda.covariance(on[0]))
    wanted_mean, wanted = references.covariance(x)
    assert np.abs(mean - wanted_mean).max() <= 1e-4
    assert np.abs(covariance - wanted).max() <= limit * max(1.0, float(np.abs(wanted).max()))

    own = torch.from_numpy(wanted_mean.astype("f4")).cuda()
    moved = cuda.whiten_color(on[0], on[3], own, on[2]).cpu().double().numpy()
    wanted = references.whiten_color(x, matrix, wanted_mean, shift)
    assert np.abs(moved - wanted).max() <= 2 * limit * max(1.0, float(np.abs(wanted).max()))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
def test_an_engine_with_the_plugin_paints_what_the_functions_paint(half: bool) -> None:
    """Built by TensorRT with st's kernels, run, and compared with ONNX Runtime."""
    import onnxruntime
    from plugin.test_fusion import small

    from st.export.plugin import prepare, register
    from st.runtime.backends.tensorrt_library import load_tensorrt

    trt: Any = load_tensorrt("tensorrt")
    register()
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    model = small(half)
    assert parser.parse(prepare(model.SerializeToString()))
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 128, 4, 4), (1, 128, 32, 48), (1, 128, 64, 64))
    config.add_optimization_profile(profile)
    engine = trt.Runtime(log).deserialize_cuda_engine(
        builder.build_serialized_network(network, config)
    )
    context = engine.create_execution_context()
    random = np.random.default_rng(2)
    inputs = {
        "x": (30 + random.standard_normal((1, 128, 33, 47))).astype("f2" if half else "f4"),
        "scale": random.random(128, np.float32),
        "shift": random.standard_normal(128).astype("f4"),
        "rows": random.standard_normal((1, 128)).astype("f4"),
    }
    on = {name: torch.from_numpy(value).cuda() for name, value in inputs.items()}
    y = torch.empty_like(on["x"])
    for name, tensor in on.items():
        assert context.set_input_shape(name, tuple(tensor.shape))
        assert context.set_tensor_address(name, tensor.data_ptr())
    assert context.set_tensor_address("y", y.data_ptr())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    assert context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]
    off = np.abs(y.cpu().double().numpy() - np.asarray(wanted, np.float64)).max()
    assert off <= (2e-2 if half else 1e-3) * np.abs(np.asarray(wanted)).max()
