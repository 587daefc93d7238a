"""The kernels, compiled ahead of time for every GPU generation, without a GPU."""

from __future__ import annotations

import re

import pytest

from st.runtime.errors import StError

compiled = pytest.importorskip("st.export.plugin.compiled", reason="needs the extra triton")
tiles = pytest.importorskip("st.export.plugin.tiles")


def check(kernel: str, half: bool, choice: object, capability: int) -> None:
    made = compiled.compiled(kernel, half, choice, capability)
    assert made.spilled == 0, f"{kernel} spills {made.spilled} bytes on {capability}"
    assert 0 < made.registers <= 255
    assert made.shared <= 48 << 10  # what a launch may ask for without asking for more
    assert made.cubin.startswith(b"\x7fELF")
    assert re.search(rf"\.entry\s+{made.name}\(", made.ptx)
    assert ".loc" not in made.ptx
    assert "kernels.py" not in made.ptx  # no paths of this machine in an engine
    entry = re.search(r"\.entry\s+\w+\(\n(.*?)\n\)", made.ptx, re.DOTALL)
    assert entry is not None
    pointers = len(re.findall(r"\.u64", entry[1]))
    assert pointers == {"adain": 4, "whiten_color": 5, "covariance_parts": 3}.get(kernel, 5)


@pytest.mark.parametrize("capability", compiled.CAPABILITIES)
def test_adain_for_every_generation(capability: int) -> None:
    check("adain", True, tiles.adain_tiles()[0], capability)


@pytest.mark.parametrize("capability", [75, 90, 120])
def test_covariance_and_whitening(capability: int) -> None:
    precision = tiles.dot_precision(True, capability)
    check("covariance_parts", True, tiles.parts_tiles(precision)[0], capability)
    check("covariance_merge", True, tiles.merge_tiles()[0], capability)
    check("whiten_color", True, tiles.whiten_tiles(precision)[0], capability)


@pytest.mark.slow
@pytest.mark.parametrize("half", [True, False], ids=["half", "float32"])
@pytest.mark.parametrize("capability", compiled.CAPABILITIES)
def test_every_tile_size_compiles(capability: int, half: bool) -> None:
    for kernel, choices in tiles.every(half, capability).items():
        for choice in choices:
            check(kernel, half, choice, capability)


def test_ptx_targets_the_requested_architecture() -> None:
    made = compiled.compiled("adain", True, tiles.adain_tiles()[0], 89)
    assert ".target sm_89" in made.ptx
    assert f".version {compiled.PTX_VERSION // 10}.{compiled.PTX_VERSION % 10}" in made.ptx


PTX = """.version 8.8
.target sm_80
.address_size 64
.visible .entry f(
	.param .u64 f_param_0,
	.param .u32 f_param_1,
	.param .u64 f_param_2
)
{
	.reg .b64 %rd<2>;
	ld.param.b64 %rd1, [f_param_NUMBER];
	ret;
}
"""


def test_unused_pointer_arguments_are_removed() -> None:
    trimmed = compiled.trimmed(PTX.replace("NUMBER", "0"), 2)
    assert "f_param_1\n)" in trimmed
    assert "f_param_2" not in trimmed
    assert compiled.assemble(trimmed, 80)[0].startswith(b"\x7fELF")


def test_used_pointer_arguments_are_kept() -> None:
    with pytest.raises(StError, match="scratch"):
        compiled.trimmed(PTX.replace("NUMBER", "2"), 2)


def test_damaged_ptx_gives_one_line() -> None:
    with pytest.raises(StError, match=r"ptxas rejects .* sm_80"):
        compiled.assemble(PTX.replace("ret", "rat"), 80)
    with pytest.raises(StError, match="no entry point in the PTX"):
        compiled.trimmed("", 1)
