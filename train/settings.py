"""Entries of a method's Config, each of which becomes an option of `st-train METHOD`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from st.train.features.networks import NETWORKS
from st.train.networks.transform import SHAPES, parse_shape


def option(
    default: Any,
    text: str,
    minimum: float | None = None,
    choices: Sequence[str] = (),
    check: Callable[[str], Any] | None = None,
    by_network: Mapping[str, Any] | None = None,
    before: Any = None,
) -> Any:
    """A dataclass field with the help text that `st-train METHOD --help` shows.

    minimum: the smallest number allowed. choices: the allowed values of a text, or of each text of
    a tuple. check: raises ValueError, with a message for the user, for a text that is not allowed.
    by_network: {pretrained network: default}, if the default depends on it; `default` is then
    None. before: the value for checkpoints from before the setting existed.
    """
    limits = {"help": text, "minimum": minimum, "choices": tuple(choices), "check": check}
    return field(default=default, metadata=limits | {"by_network": by_network, "before": before})


def steps_option(default: int) -> Any:
    return option(default, "Number of training steps.", 1)


def shape_option(default: str) -> Any:
    names = ", ".join(SHAPES)
    text = f"Shape of the network: {names}, or entries such as 'down=32,64,128 blocks=5 up=64,32'."
    return option(default, text, check=parse_shape)


def size_option(default: int, note: str = "") -> Any:
    return option(default, f"Side of the square training crops, in pixels{note}.", 32)


def batch_option(default: int, note: str = "") -> Any:
    return option(default, f"Crops per step{note}.", 1)


RATE_HELP = "Learning rate of Adam; decays to 0 over the last 40 % of the steps."


def learning_rate_option(default: float) -> Any:
    return option(default, RATE_HELP, 0)


def loss_network_option(default: str) -> Any:
    text = "Pretrained network that compares pictures."
    return option(default, text, choices=NETWORKS, before="vgg16")


def encoder_option() -> Any:
    """The setting for the network whose features are decoded; old checkpoints have VGG."""
    text = "Pretrained network that encodes the content and the style."
    return option("squeezenet", text, choices=NETWORKS, before="vgg16")


def style_size_option(default: int) -> Any:
    return option(
        default,
        "Short side of the style picture, in pixels: larger gives larger brush strokes.",
        32,
    )


def by_network(
    values: Mapping[str, Any], text: str, minimum: float | None = None, choices: Sequence[str] = ()
) -> Any:
    """A setting whose default depends on the pretrained network: {network: value}."""
    shown = "; ".join(f"{network}: {_shown(value)}" for network, value in values.items())
    return option(None, f"{text} [default: {shown}]", minimum, choices, by_network=values)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def swap_size_option(values: Mapping[str, int]) -> Any:
    text = "Side of the square that style pictures are scaled to, in pixels: sets the stroke size."
    return by_network(values, text, 32)


def fill_defaults(config: Any, network: str) -> None:
    """Give the entries of a frozen Config that are None the defaults of a pretrained network."""
    for entry in fields(config):
        if getattr(config, entry.name) is None:
            object.__setattr__(config, entry.name, entry.metadata["by_network"][network])


def settings_before(config: type) -> dict[str, Any]:
    """The settings that older checkpoints lack, with the values they were trained with."""
    entries = {entry.name: entry.metadata["before"] for entry in fields(config)}
    return {name: value for name, value in entries.items() if value is not None}
