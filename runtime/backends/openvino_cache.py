"""Compiled OpenVINO models of one engine, one for each size and style that is used repeatedly.

A model compiled for one size, with the style as constants, needs 70% of the time of a model for all
sizes (36 ms and 51 ms at 1280×720, bfloat16): the plugin plans memory and layouts once, and folds
the scales and shifts of the norms. Compiling takes 0.1 s. So a video or a camera gets a model of
its own, and a folder of pictures of different sizes does not.

The choice of the model depends only on the previous runs, and is the same at any start position of
a video of one size. So a resumed video has the same bits as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.openvino_graph import keep_channels_last
from st.runtime.errors import Unavailable
from st.runtime.system.fork_safety import keep_in_children

PRECISION = "INFERENCE_PRECISION_HINT"
HELD = ("weights", "code", "strength")  # inputs that define the style
MAX_HELD = 1 << 16  # bytes, of all these inputs together
STYLES = 2  # models with a style as constants, one for each of the first styles
LARGE = 8_000_000  # values in the inputs (2.7 megapixels); above, one size and one style

Sizes = tuple[tuple[str, tuple[int, ...]], ...]
Held = tuple[tuple[str, bytes], ...]


class Kind(NamedTuple):
    """The key of a compiled model.

    sizes: the sizes of its inputs; None for a dynamic model. held: inputs compiled as constants.
    """

    outputs: tuple[str, ...]
    sizes: Sizes | None
    held: Held


def _values(sizes: Sizes) -> int:
    """The number of values of all inputs together."""
    return sum(math.prod(shape) for _, shape in sizes)


class Requests:
    """Cache of compiled models by their kind. Not thread-safe.

    It holds at most one dynamic model, and models for the size of the first run and for any size
    that two successive runs have. Visitors of a server take turns with their sizes, so several
    sizes are kept: the latest ones, up to LARGE values together.
    """

    def __init__(self, ov: Any, core: Any, model: Any, settings: Mapping[str, Any]) -> None:
        self._ov, self._core, self._model, self._settings = ov, core, model, settings
        self._made: dict[Kind, Any] = {}
        self._styles: list[Held] = []
        self._sizes: list[Sizes] = []  # those with models of their own, the latest last
        self._last: Sizes = ()
        self._outputs: tuple[str, ...] = ()

    def kind(self, inputs: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> Kind:
        """Choose the model for these inputs."""
        sizes: Sizes = tuple((name, value.shape) for name, value in inputs.items())
        # With other outputs begins a pass over tiles, all of one size.
        repeated = sizes == self._last or not self._last or outputs != self._outputs
        self._last, self._outputs = sizes, outputs
        if sizes not in self._sizes:
            if not repeated:
                return Kind(outputs, None, ())
            self._keep(sizes)
        style = {name: value for name, value in inputs.items() if name in HELD}
        if not style or sum(value.nbytes for value in style.values()) > MAX_HELD:
            return Kind(outputs, sizes, ())
        held = tuple((name, value.tobytes()) for name, value in style.items())
        most = STYLES if _values(sizes) <= LARGE else 1
        if held not in self._styles and len(self._styles) < most:
            self._styles.append(held)
        return Kind(outputs, sizes, held if held in self._styles else ())

    def _keep(self, sizes: Sizes) -> None:
        """Add a size, and drop the oldest ones with their models."""
        self._sizes.append(sizes)
        while len(self._sizes) > 1 and sum(map(_values, self._sizes)) > LARGE:
            self._sizes.pop(0)
        kept = {k: made for k, made in self._made.items() if k.sizes in (None, *self._sizes)}
        self._made = kept

    def get(self, kind: Kind) -> Any:
        """The request of a model, compiled on first use. Raises RuntimeError, Unavailable."""
        if kind not in self._made:
            # Each pass over tiles has other outputs; models of earlier passes are not reused soon.
            self._made = {k: made for k, made in self._made.items() if k.outputs == kind.outputs}
            self._made[kind] = self._compiled(kind)
        return self._made[kind]

    def _compiled(self, kind: Kind) -> Any:
        model = self._model.clone()
        held = dict(kind.held)
        sizes = dict(kind.sizes or ())
        for given in model.get_parameters():
            name = given.output(0).get_any_name()
            if name in held:
                values = np.frombuffer(held[name], np.float32).reshape(sizes.pop(name))
                constant = self._ov.opset13.constant(values).output(0)
                for port in given.output(0).get_target_inputs():
                    port.replace_source_output(constant)
                model.remove_parameter(given)
        if not held:
            keep_channels_last(self._ov, model)
        ports = [model.output(name) for name in kind.outputs]
        results = [port.get_node().input_value(0) for port in ports]
        part = self._ov.Model(results, model.get_parameters())
        if kind.sizes:  # of the part: inputs that it does not read may not fit the others
            part.reshape({name: list(shape) for name, shape in sizes.items()})
        compiled = self._core.compile_model(part, "CPU", self._settings)
        used = compiled.get_property(PRECISION).get_type_name()
        if used != self._settings[PRECISION]:
            raise Unavailable(f"OpenVINO computes in {used} on this processor: use cpu")
        request = compiled.create_infer_request()
        keep_in_children(request)
        return request
