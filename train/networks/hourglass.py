"""Avatar-Net's decoder: an encoder in reverse, whose features are given statistics at each scale.

Sheng et al., CVPR 2018, arXiv:1805.03857, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from st.train.networks.autoencoder import FULL, LEVELS, initialize
from st.train.networks.transform import ReflectConv, UpsampleConv

Norm = Callable[[Tensor, Tensor], Tensor]


class Hourglass(nn.Module):
    """Features of a level (N, C, H, W), statistics of the shallower ones -> pictures (N, 3, H, W).

    Pictures are about 0..1, not clamped. Each stage ends at the size and channels of the next
    shallower level. width: of the layers between, see `autoencoder.WIDTH_HELP`.
    """

    def __init__(self, network: str, level: int, width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleDict()
        levels = LEVELS[network]
        for number in range(level - 1, 0, -1):
            inputs, outputs = levels[number + 1].channels, levels[number].channels
            inside = outputs * width // FULL
            layers: list[nn.Module] = [ReflectConv(inputs, inside, 3), nn.ReLU()]
            if (network, number) == ("vgg16", 3):  # VGG-16's third block has three convolutions
                layers += [UpsampleConv(inside, inside), nn.ReLU()]
                layers += [ReflectConv(inside, outputs, 3), nn.ReLU()]
            else:
                layers += [UpsampleConv(inside, outputs), nn.ReLU()]
            self.stages[str(number)] = nn.Sequential(*layers)
        self.at_half = levels[1].stride == 2  # the size of the shallowest level
        if self.at_half:
            self.up = UpsampleConv(levels[1].channels, width // 2)
        self.last = ReflectConv(width // 2 if self.at_half else levels[1].channels, 3, 3)
        convolutions = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        initialize(nn.Sequential(*convolutions))

    def forward(self, features: Tensor, moments: Sequence[Tensor], norm: Norm) -> Tensor:
        """moments: means and deviations (N or 1, 2C) for each stage, deepest first. norm: gives
        features such moments."""
        x = features
        for stage, own in zip(self.stages.values(), moments, strict=True):
            x = norm(stage(x), own)
        return self.last(self.up(x).relu() if self.at_half else x)
