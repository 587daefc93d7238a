"""Compiled OpenVINO models of one engine, one for each size and style that is used repeatedly.

A model compiled for one size, with the style in its constants, takes seven tenths of the time of
one for all (36 ms and 51 ms at 1280×720, bfloat16): the plugin plans memory and layouts once, and
norms take their scales and shifts along. Compiling takes a tenth of a second. So a film or a camera
gets its own, and a folder of pictures of all sizes does not.

What is compiled depends only on the runs before, in a way that gives a film of one size the same
models wherever it begins: a film that is taken up again is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from st.runtime.backends.openvino_graph import keep_channels_last
from st.runtime.errors import Unavailable
from st.runtime.system.fork_safety import keep_in_children

PRECISION = "INFERENCE_PRECISION_HINT"
HELD = ("weights", "code", "strength")  # inputs that are the style
MOST_HELD = 1 << 16  # bytes of them all
STYLES = 2  # the first of them are compiled in, where there is memory for it
LARGE = 8_000_000  # values of a run's inputs, over two megapixels: one style

Sizes = tuple[tuple[str, tuple[int, ...]], ...]
Held = tuple[tuple[str, bytes], ...]


class Kind(NamedTuple):
    """What a model is compiled for.

    sizes: of its inputs; None for any. held: inputs that are constants in it.
    """

    outputs: tuple[str, ...]
    sizes: Sizes | None
    held: Held


class Requests:
    """Compiled models by their kind. For one thread at a time.

    At most one model for any size, and those of one size: that of the first run, and then any that
    comes twice in a row.
    """

    def __init__(self, ov: Any, core: Any, model: Any, settings: Mapping[str, Any]) -> None:
        self._ov, self._core, self._model, self._settings = ov, core, model, settings
        self._made: dict[Kind, Any] = {}
        self._styles: list[Held] = []
        self._sizes: Sizes = ()
        self._last: Sizes = ()

    def kind(self, inputs: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> Kind:
        """Which model is to run these inputs."""
        sizes: Sizes = tuple((name, value.shape) for name, value in inputs.items())
        repeated, self._last = sizes == self._last or not self._last, sizes
        if sizes != self._sizes:
            if not repeated:
                return Kind(outputs, None, ())
            self._sizes = sizes
            self._made.clear()
        style = {name: value for name, value in inputs.items() if name in HELD}
        if not style or sum(value.nbytes for value in style.values()) > MOST_HELD:
            return Kind(outputs, sizes, ())
        held = tuple((name, value.tobytes()) for name, value in style.items())
        most = STYLES if sum(value.size for value in inputs.values()) <= LARGE else 1
        if held not in self._styles and len(self._styles) < most:
            self._styles.append(held)
        return Kind(outputs, sizes, held if held in self._styles else ())

    def get(self, kind: Kind) -> Any:
        """Its request, compiled at first use. Raises RuntimeError, Unavailable."""
        if kind not in self._made:
            # Other outputs are another pass over the same tiles: they do not come back soon.
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
        if kind.sizes:
            model.reshape({name: list(shape) for name, shape in sizes.items()})
        ports = [model.output(name) for name in kind.outputs]
        results = [port.get_node().input_value(0) for port in ports]
        part = self._ov.Model(results, model.get_parameters())
        compiled = self._core.compile_model(part, "CPU", self._settings)
        used = compiled.get_property(PRECISION).get_type_name()
        if used != self._settings[PRECISION]:
            raise Unavailable(f"OpenVINO computes in {used} here: use cpu")
        request = compiled.create_infer_request()
        keep_in_children(request)
        return request
