"""Small engines that are built quickly, for tests that need an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from st.runtime.engine.metadata import PROPERTY, Metadata

HEADER = '<ir_version: 10, opset_import: ["": 20]>'


def model(text: str, weights: Mapping[str, NDArray] | None = None) -> onnx.ModelProto:
    """An ONNX model from text, with initializers that are too long for text."""
    made = parser.parse_model(f"{HEADER} {text}")
    for name, values in (weights or {}).items():
        made.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return made


def save(
    text: str, path: Path, metadata: Metadata, weights: Mapping[str, NDArray] | None = None
) -> Path:
    """Write an ONNX model from text, with st's metadata inside."""
    made = model(text, weights)
    onnx.checker.check_model(made, full_check=True)
    made.metadata_props.add(key=PROPERTY, value=metadata.dump())
    path.write_bytes(made.SerializeToString())
    return path


def identity_engine(path: Path, multiple: int = 1) -> Path:
    """content -> the same picture."""
    text = """identity (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    { stylized = Identity(content) }"""
    return save(text, path, Metadata("identity", multiple=multiple))


def tint_engine(path: Path, fingerprint: str = "tint", **entries: Any) -> Path:
    """Two named styles: "negative" inverts the picture, "black" makes it black.

    stylized = weights[0] * (255 - content), so a blend of half and half is half the negative.
    entries: metadata fields that replace the defaults.
    """
    text = """tint (uint8[N, H, W, 3] content, float[1, 2] weights) => (uint8[N, H, W, 3] stylized)
    <int64[1] first = {0}, int64[1] axis = {1}, float full = {255}, int64[1] one = {1}> {
        x = Cast<to: int = 1>(content)
        inverse = Sub(full, x)
        w = Slice(weights, first, one, axis)
        scaled = Mul(inverse, w)
        rounded = Round(scaled)
        stylized = Cast<to: int = 2>(rounded)
    }"""
    metadata = Metadata(
        "tint",
        inputs=("content", "weights"),
        styles=("negative", "black"),
        fingerprint=fingerprint,
    )
    return save(text, path, replace(metadata, **entries))


def color_engine(path: Path, most: str = "0.4") -> Path:
    """A colorizer that makes shadows blue and highlights red.

    Near hints it takes their mean color; the more gray a palette has, the redder the result.
    most: limit of the chroma, in both directions.
    """
    text = f"""color (uint8[N, H, W, 3] content, float[1, 3, H, W] hints, float[1, 82] palette)
        => (float[N, 2, H, W] chroma)
    <float full = {{255}}, float half = {{0.5}}, float low = {{-{most}}}, float high = {{{most}}},
     float few = {{0.001}}, int64[1] gray = {{40}}, int64[1] after = {{41}}, int64[1] axis = {{1}},
     int64[1] two = {{2}}, int64[1] zero = {{0}}, int64[1] three = {{3}},
     float[1, 2, 1, 1] turn = {{-0.2, 0.2}}, float[1, 2, 1, 1] red = {{0.0, 1.0}},
     int64[4] one = {{1, 1, 1, 1}}> {{
        nchw = Transpose<perm = [0, 3, 1, 2]>(content)
        x = Cast<to = 1>(nchw)
        unit = Div(x, full)
        light = ReduceMean<keepdims = 1>(unit, axis)
        centered = Sub(light, half)
        own = Mul(centered, turn)
        around = AveragePool<kernel_shape = [33, 33], pads = [16, 16, 16, 16],
            count_include_pad = 1>(hints)
        colors = Slice(around, zero, two, axis)
        share = Slice(around, two, three, axis)
        some = Max(share, few)
        hinted = Div(colors, some)
        there = Sign(share)
        nowhere = Sub(half, there)
        free = Clip(nowhere, zero_f, half)
        doubled = Add(free, free)
        kept = Mul(own, doubled)
        both = Add(kept, hinted)
        bin = Slice(palette, gray, after, axis)
        as_map = Reshape(bin, one)
        redder = Mul(as_map, red)
        all = Add(both, redder)
        chroma = Clip(all, low, high)
    }}"""
    text = text.replace("float few", "float zero_f = {0.0}, float few")
    metadata = Metadata(
        "color",
        kind="colorizer",
        inputs=("content", "hints", "palette"),
        render_factor=10,
        multiple=4,
        min_size=8,
    )
    return save(text, path, metadata)


def code_engine(path: Path) -> Path:
    """An engine that adds a style code (3 numbers) to RGB; its encoder returns the mean color."""
    frame = """add (uint8[N, H, W, 3] content, float[1, 3] code, float[1] strength)
        => (uint8[N, H, W, 3] stylized)
    <float low = {0}, float high = {255}> {
        x = Cast<to: int = 1>(content)
        shift = Mul(code, strength)
        y = Add(x, shift)
        clipped = Clip(y, low, high)
        rounded = Round(clipped)
        stylized = Cast<to: int = 2>(rounded)
    }"""
    encoder = """mean (uint8[1, H, W, 3] style) => (float[1, 3] code)
    <int64[2] axes = {1, 2}> {
        x = Cast<to: int = 1>(style)
        code = ReduceMean<keepdims: int = 0>(x, axes)
    }"""
    shared = {"code_size": 3, "fingerprint": "mean"}
    save(
        encoder,
        path.with_suffix(".encoder.onnx"),
        Metadata("add", kind="style-encoder", inputs=("style",), **shared),
    )
    return save(frame, path, Metadata("add", inputs=("content", "code", "strength"), **shared))


def tiles_pair(path: Path, seed: int = 0, halo: int = 16) -> Path:
    """A small network with two instance norms, and its tiles companion.

    unpadded picture -> reflected 3x3, norm -> strided 3x3, norm -> nearest x2 -> 3x3; two named
    styles scale the second norm.
    """
    shared = {"inputs": ("content", "weights"), "styles": ("soft", "hard"), "multiple": 4}
    shared |= {"min_size": 8, "fingerprint": f"tiles {seed}"}
    random = np.random.default_rng(seed)
    weights = {
        "first": random.normal(0, 0.4, (6, 3, 3, 3)),
        "second": random.normal(0, 0.3, (8, 6, 3, 3)),
        "last": random.normal(0, 0.04, (3, 8, 3, 3)),
        "bias": np.full(3, 0.5),
    }
    whole = _tiles_graph("", "stylized", _own_norm("one", 6) + _own_norm("two", 8))
    save(whole, path, Metadata("toy", halo=halo, **shared), weights)
    shared["inputs"] += ("moments", "margins")
    norms = _given_norm("one", 0, 6, 1) + _given_norm("two", 6, 8, 2)
    outputs = "stylized, float[2, 6] moments_0, float[2, 8] moments_1"
    tiles = _tiles_graph(", float[2, 14] moments, int64[4] margins", outputs, norms)
    metadata = Metadata("toy", kind="tiles", halo=halo, norms=(6, 8), **shared)
    save(tiles, path.with_suffix(".tiles.onnx"), metadata, weights)
    return path


def _tiles_graph(more_inputs: str, outputs: str, norms: str) -> str:
    one, two = norms.split("#")[1:]
    return f"""toy (uint8[N, H, W, 3] content, float[1, 2] weights{more_inputs})
        => (uint8[N, H, W, 3] {outputs})
    <float full = {{255}}, float zero = {{0}}, float epsilon = {{1e-5}},
     int64[8] ring = {{0, 0, 1, 1, 0, 0, 1, 1}}, int64[3] space = {{0, 2, 3}},
     int64[2] plane = {{2, 3}}, int64[1] axis = {{1}}, int64[2] row = {{1, -1}},
     int64[4] column = {{1, -1, 1, 1}}, int64[2] starts = {{0, 2}}, int64[2] stops = {{1, 3}},
     float[4] twice = {{1, 1, 2, 2}}, float[1, 2] styles = {{0.5, 2.0}}> {{
        nchw = Transpose<perm = [0, 3, 1, 2]>(content)
        x = Cast<to = 1>(nchw)
        unit = Div(x, full)
        a = Pad<mode = "reflect">(unit, ring)
        in_one = Conv(a, first)
        {one}
        b = Relu(out_one)
        c = Pad<mode = "reflect">(b, ring)
        in_two = Conv<strides = [2, 2]>(c, second)
        {two}
        chosen = Mul(weights, styles)
        strength = ReduceSum<keepdims = 0>(chosen)
        d = Mul(out_two, strength)
        e = Resize<mode = "nearest">(d, , twice)
        f = Pad<mode = "reflect">(e, ring)
        y = Conv(f, last, bias)
        bytes = Mul(y, full)
        clipped = Clip(bytes, zero, full)
        rounded = Round(clipped)
        done = Cast<to = 2>(rounded)
        stylized = Transpose<perm = [0, 2, 3, 1]>(done)
    }}"""


def _own_norm(name: str, channels: int) -> str:
    ones, zeros = ", ".join(["1.0"] * channels), ", ".join(["0.0"] * channels)
    return f"""#
        s_{name} = Constant<value = float[{channels}] {{{ones}}}>()
        o_{name} = Constant<value = float[{channels}] {{{zeros}}}>()
        out_{name} = InstanceNormalization<epsilon = 1e-5>(in_{name}, s_{name}, o_{name})"""


def _given_norm(name: str, first: int, channels: int, stride: int) -> str:
    index = {"one": 0, "two": 1}[name]
    return f"""#
        stride_{name} = Constant<value = int64 {{{stride}}}>()
        scaled_{name} = Div(margins, stride_{name})
        from_{name} = Gather(scaled_{name}, starts)
        less_{name} = Gather(scaled_{name}, stops)
        size_{name} = Shape<start = 2, end = 4>(in_{name})
        to_{name} = Sub(size_{name}, less_{name})
        core_{name} = Slice(in_{name}, from_{name}, to_{name}, plane)
        mean_{name} = ReduceMean(core_{name}, space)
        off_{name} = Sub(core_{name}, mean_{name})
        square_{name} = Mul(off_{name}, off_{name})
        variance_{name} = ReduceMean(square_{name}, space)
        m_{name} = Reshape(mean_{name}, row)
        v_{name} = Reshape(variance_{name}, row)
        moments_{index} = Concat<axis = 0>(m_{name}, v_{name})
        low_{name} = Constant<value = int64[1] {{{first}}}>()
        high_{name} = Constant<value = int64[1] {{{first + channels}}}>()
        given_{name} = Slice(moments, low_{name}, high_{name}, axis)
        zeroth_{name} = Constant<value = int64 {{0}}>()
        oneth_{name} = Constant<value = int64 {{1}}>()
        gm_{name} = Gather(given_{name}, zeroth_{name})
        gv_{name} = Gather(given_{name}, oneth_{name})
        gm4_{name} = Reshape(gm_{name}, column)
        gv4_{name} = Reshape(gv_{name}, column)
        shifted_{name} = Sub(in_{name}, gm4_{name})
        above_{name} = Add(gv4_{name}, epsilon)
        deviation_{name} = Sqrt(above_{name})
        out_{name} = Div(shifted_{name}, deviation_{name})"""
