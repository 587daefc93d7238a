"""The engines to train, one entry each: method, pictures, settings and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | int | float | tuple[str, ...]

PAINTINGS = (
    "wave",
    "the_scream",
    "starry_night",
    "woman_with_hat",
    "udnie",
    "mondrian",
    "shipwreck",
    "perfume",
)
FOUR = ("wave", "the_scream", "udnie", "shipwreck")


@dataclass(frozen=True)
class Recipe:
    """A training that ends in an engine.

    name: of the engine and its files. method: as in `st-train METHOD`. steps: of the training.
    settings: options of the method by name, "content_weight" for --content-weight.
    styles: named styles, out of the data folder's `styles`. paintings: whether it learns from the
    folder `paintings`. drawn: whether also from patterns and drawings: see `drawn_styles`.
    photographs: whether it learns from `photographs`.
    begin_with: another recipe, whose finished network the training starts from: it waits for it.
    share: of a slice's time, relative to the other recipes.
    """

    name: str
    method: str
    steps: int
    settings: Mapping[str, Value] = field(default_factory=dict)
    styles: tuple[str, ...] = ()
    paintings: bool = False
    drawn: bool = False
    photographs: bool = True
    begin_with: str = ""
    share: float = 1.0


BANK = {"style_weight": 15.0, "tv_weight": 1.0, "average": 0.999}

RECIPES = (
    Recipe(
        "paintings",
        "cin",
        40_000,
        BANK
        | {
            "shape": "deep",
            "size": 256,
            "batch": 4,
            "style_size": 480,
            "content_weight": 6.5,
            "contrast_weight": 3.0,
            "raster_weight": 40_000.0,
            "style_scales": ("1.0", "0.5", "1.5", "0.3", "1.5"),
            "learning_rate": 2e-3,
        },
        PAINTINGS,
        share=3,
    ),
    Recipe(
        "paintings-fast",
        "cin",
        40_000,
        BANK | {"shape": "fast", "size": 256, "batch": 4, "style_size": 400},
        PAINTINGS,
        share=2,
    ),
    Recipe(
        "paintings-light",
        "cin",
        30_000,
        BANK
        | {
            "shape": "fastest",
            "size": 256,
            "batch": 4,
            "style_size": 400,
            "temporal_weight": 60.0,
            "temporal_every": 2,
        },
        PAINTINGS,
    ),
    Recipe(
        "anything",
        "prediction",
        100_000,
        {
            "shape": "deep",
            "size": 192,
            "batch": 8,
            "content_weight": 4.0,
            "style_weight": 15.0,
            "tv_weight": 1.0,
            "raster_weight": 4_000.0,
            "average": 0.999,
        },
        paintings=True,
        drawn=True,
        begin_with="paintings",
        share=4,
    ),
    Recipe("wct", "wct", 20_000, {"batch": 8, "average": 0.999}),
    Recipe(
        "adain",
        "adain",
        60_000,
        {"batch": 8, "average": 0.999},
        paintings=True,
        drawn=True,
        share=2,
    ),
    Recipe("stylebank", "stylebank", 40_000, {"size": 256, "batch": 4, "average": 0.999}, FOUR),
    Recipe("avatarnet", "avatarnet", 20_000, {"batch": 8, "average": 0.999}),
    Recipe("styleswap", "styleswap", 20_000, {"batch": 8, "average": 0.999}, paintings=True),
    Recipe("diversified", "diversified", 20_000, {"size": 256, "batch": 4}, FOUR),
    Recipe(
        "texture", "texture", 6_000, {"mode": "texture", "size": 256}, ("wave",), photographs=False
    ),
    Recipe("mgan", "mgan", 20_000, {"size": 256, "batch": 8}, ("wave",)),
    Recipe("perceptual", "perceptual", 20_000, {"size": 256, "average": 0.999}, ("wave",)),
    Recipe("superres", "superres", 40_000, {"loss_network": "squeezenet", "pixel_weight": 20.0}),
    Recipe(
        "colorize", "colorize", 40_000, {"loss_network": "squeezenet", "alone": 0.85, "rounds": 2}
    ),
)
