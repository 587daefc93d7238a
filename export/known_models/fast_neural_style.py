"""pytorch/examples, fast_neural_style: a state dict of its TransformerNet.

Johnson et al.'s network with reflection padding, nearest upsampling and instance norms: the shape
"johnson" with a linear ending, for pictures of 0..255.
"""

from __future__ import annotations

import re

from torch import Tensor

from st.export.known_models.transform_layers import Convolution, TransformLayers, as_rows
from st.runtime.errors import BadInput, printable

LAYOUT = "pytorch/examples fast_neural_style"
ENTRIES = ("conv1.conv2d.weight", "res1.conv1.conv2d.weight", "deconv3.conv2d.weight")
DOWN, UP = 3, 2
OLD = re.compile(r"(.*\.)?in\d+\.(running_mean|running_var|num_batches_tracked)")


def layers_of(state: dict[str, Tensor]) -> TransformLayers:
    """The layers of a TransformerNet. Raises BadInput: unknown or missing entries.

    Old files also contain running statistics, which the network never used.
    """
    state = {name: value for name, value in state.items() if not OLD.fullmatch(name)}
    blocks = sum(bool(re.fullmatch(r"res\d+\.conv1\.conv2d\.weight", name)) for name in state)
    names = [
        *((f"conv{i}", f"in{i}") for i in range(1, DOWN + 1)),
        *(
            (f"res{block}.conv{i}", f"res{block}.in{i}")
            for block in range(1, blocks + 1)
            for i in (1, 2)
        ),
        *((f"deconv{i}", f"in{DOWN + i}") for i in range(1, UP + 1)),
        (f"deconv{UP + 1}", None),
    ]
    convolutions, norms = [], []
    rest = dict(state)

    def take(name: str, dimensions: int) -> Tensor:
        value = rest.pop(name, None)
        if value is None or value.ndim != dimensions:
            raise BadInput(f"{LAYOUT}: no {name} of {dimensions} dimensions in it")
        return value

    for conv, norm in names:
        weight, bias = take(f"{conv}.conv2d.weight", 4), take(f"{conv}.conv2d.bias", 1)
        convolutions.append(Convolution(weight, bias, conv))
        if norm:
            norms.append((take(f"{norm}.weight", 1), take(f"{norm}.bias", 1)))
    if rest:
        raise BadInput(f"{LAYOUT}: it has no {printable(next(iter(rest)), 60)}")
    return as_rows(TransformLayers(convolutions, DOWN - 1, norms, "linear", 255.0))
