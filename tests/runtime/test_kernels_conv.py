"""Every convolution kernel and encoding against NumPy, element by element, on the host."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import DataError, OptionError
from edgefactor.export.c_code.layer_code import LayerCode
from edgefactor.export.conv_kernels.catalogue import ALL_VARIANTS
from edgefactor.export.conv_kernels.choice import choose_conv
from edgefactor.export.encodings.huffman_code import HEADER_BYTES, LENGTH_BYTES
from tests.runtime.conv_cases import (
    DSP,
    cases,
    encoded_cases,
    kernels_of,
    of_vectors,
    skewed,
    sparse,
    uniform,
)
from tests.runtime.conv_library import run_kernel
from tests.runtime.conv_reference import ConvLayer, conv, convolve, make_layer

CASES = {layer.name: layer for layer in cases()}
ENCODED = {layer.name: layer for layer in encoded_cases()}
KERNELS = list(dict.fromkeys(variant.kernel for variant in ALL_VARIANTS))


def check(layer: ConvLayer, kernel: LayerCode, compiler: str = "gcc") -> None:
    """Equal to the reference, and in place too where the kernel says that it may."""
    where = f"{layer.name}: {kernel.calls[0].function} {kernel.encoding}{kernel.bits}"
    np.testing.assert_array_equal(
        run_kernel(kernel, layer.input, compiler=compiler), layer.output, where
    )
    if kernel.scratch_lead is not None:
        np.testing.assert_array_equal(
            run_kernel(kernel, layer.input, in_scratch=True, compiler=compiler),
            layer.output,
            f"{where}, scratch over the input",
        )
    leads = [lead for _, lead in kernel.overlaps]
    if kernel.in_place and layer.output.size <= layer.input.size:
        leads.append(0)
    for lead in leads:
        np.testing.assert_array_equal(
            run_kernel(kernel, layer.input, lead=lead, compiler=compiler),
            layer.output,
            f"{where}, output {lead} bytes before the input",
        )


def clustered(layer: ConvLayer, values: int) -> ConvLayer:
    """The same layer with few distinct weights."""
    return make_layer(layer.name, layer.geometry, values=values, seed=values)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", CASES)
def test_case_equals_numpy(name: str, kernel: str) -> None:
    for variant in kernels_of(CASES[name], kernel):
        check(CASES[name], variant)


@pytest.mark.parametrize("name", ENCODED)
def test_encoded_case_equals_numpy(name: str) -> None:
    kernels = [code for kernel in KERNELS for code in kernels_of(ENCODED[name], kernel)]
    assert {code.encoding for code in kernels} > {"raw"}
    for code in kernels:
        check(ENCODED[name], code)


@pytest.mark.parametrize("values", [1, 2, 3, 4, 7, 8, 16, 30, 64])
@pytest.mark.parametrize(
    "name",
    ["tile + 1", "3x3 same", "groups", "dense", "dense odd", "depthwise 3x3", "3x3 three channels"],
)
def test_codebook_equals_numpy(name: str, values: int) -> None:
    layer = clustered(CASES[name], values)
    for kernel in KERNELS:
        for variant in kernels_of(layer, kernel):
            check(layer, variant)


@pytest.mark.parametrize("kernel", KERNELS)
def test_clang_build_is_clean_and_equal(kernel: str) -> None:
    layer = clustered(CASES["3x3 same"], 16)
    for variant in kernels_of(layer, kernel):
        check(layer, variant, compiler="clang")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("encoding_values", [255, 16, 5])
def test_turned_weight_bit_is_seen(kernel: str, encoding_values: int) -> None:
    name = "depthwise 3x3" if "depthwise" in kernel else "dense"
    # Large inputs and no saturation: every weight's top bits show.
    g = CASES[name].geometry
    layer = make_layer(name, g, values=encoding_values, seed=2, spread=15.0)
    data = np.where(layer.input % 2 == 0, -100, 100).astype(np.int8)
    numbers = (layer.codes, layer.bias, layer.multipliers, layer.shifts)
    layer = replace(layer, input=data, output=convolve(g, *numbers, data))
    for variant in kernels_of(layer, kernel):
        if variant.encoding == "huffman":
            continue  # its first bytes are no weights
        arrays = list(variant.arrays)
        damaged = arrays[0].data.copy()
        # Bit 6 of a byte is the top index bit or one worth 64: large, and read for sure.
        damaged.view(np.uint8)[1] ^= 0x40
        arrays[0] = replace(arrays[0], data=damaged)
        broken = replace(variant, arrays=tuple(arrays))
        assert np.any(run_kernel(broken, layer.input) != layer.output)


BASE = make_layer("damaged", conv((1, 1, 64), 16), spread=25.0)
WINDOW = conv((4, 4, 16), 8, (3, 3), pads=(1, 1, 1, 1))
DAMAGED = {
    # (byte, bit): one that is worth much and leads nowhere outside the arrays
    "uniform": (uniform(BASE, 16), 1, 0x40),
    "uniform, window": (
        uniform(make_layer("window", WINDOW, spread=9.0), 16),
        1,
        0x40,
    ),
    "2 bits": (uniform(BASE, 40, bits=2), 1, 0x40),
    "2 bits, window": (
        uniform(make_layer("window", WINDOW, spread=9.0), 40, bits=2),
        1,
        0x40,
    ),
    "vectors": (of_vectors(BASE, 4), 1, 0x40),
    "huffman": (skewed(BASE, 9), HEADER_BYTES + 2, 0x40),
    "counts of huffman": (skewed(BASE, 9), LENGTH_BYTES + 2, 0x01),
    "sparse": (sparse(BASE, 15, 0.4), 2, 0x80),
    "sparse, raw": (sparse(BASE, 60, 0.4), 3, 0x40),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_turned_bit_of_an_encoding_is_seen(name: str) -> None:
    layer, byte, bit = DAMAGED[name]
    data = np.where(layer.input % 2 == 0, -100, 100).astype(np.int8)
    numbers = (layer.codes, layer.bias, layer.multipliers, layer.shifts)
    layer = replace(layer, input=data, output=convolve(layer.geometry, *numbers, data))
    codes = [code for kernel in KERNELS for code in kernels_of(layer, kernel)]
    codes = [
        code
        for code in codes
        if code.encoding not in ("raw", "packed4", "codebook")
        and (code.encoding == "huffman") == ("huffman" in name)
    ]
    assert len({code.calls[0].function for code in codes}) > 1
    for code in codes:
        damaged = code.arrays[0].data.copy()
        damaged.view(np.uint8)[byte] ^= bit
        arrays = (replace(code.arrays[0], data=damaged), *code.arrays[1:])
        assert np.any(run_kernel(replace(code, arrays=arrays), layer.input) != layer.output)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_shape_equals_numpy(data: st.DataObject) -> None:
    def pick(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    kernel = (pick(1, 4), pick(1, 4))
    dilation = (pick(1, 2), pick(1, 2))
    pads = (pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    height = max(pick(1, 9), reach[0] - pads[0] - pads[2])
    width = max(pick(1, 9), reach[1] - pads[1] - pads[3])
    groups = pick(1, 4)
    geometry = conv(
        (height, width, groups * pick(1, 9)),
        groups * pick(1, 9),
        kernel,
        stride=(pick(1, 3), pick(1, 3)),
        dilation=dilation,
        pads=pads,
        groups=groups,
        in_zero_point=pick(-128, 127),
        out_zero_point=pick(-128, 127),
        clamp_min=pick(-128, 0),
        clamp_max=pick(1, 127),
    )
    layer = make_layer(
        "any",
        geometry,
        values=data.draw(st.sampled_from([255, 2, 3, 8, 16, 20, 64])),
        seed=pick(0, 1000),
        spread=data.draw(st.sampled_from([1.0, 40.0, 200.0, 1.0e5])),
    )
    for name in KERNELS:
        for variant in kernels_of(layer, name, scratch_limit=pick(0, 2000)):
            check(layer, variant)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("kernel", ["ef_conv2d_s8_ref", "ef_dense_s8_dsp"])
def test_packed_tables_hold_what_they_must(kernel: str, sign: int, over: int) -> None:
    """Shifts eight apart and a bias of 23 bits; the next larger one is kept in plain tables."""
    layer = make_layer("limits", conv((1, 1, 16), 8))
    layer = replace(layer, codes=layer.codes // 32)
    bias = np.array([sign * 2**22 >> c for c in range(8)], np.int32)
    bias[0] += sign * over - (sign > 0)
    shifts = np.arange(-15, -7, dtype=np.int32)
    multipliers = np.arange(2**30, 2**30 + 8, dtype=np.int32)
    output = convolve(layer.geometry, layer.codes, bias, multipliers, shifts, layer.input)
    assert np.all(np.abs(output.astype(int)) < 127)
    layer = replace(layer, bias=bias, multipliers=multipliers, shifts=shifts, output=output)
    codes = list(kernels_of(layer, kernel))
    assert {bool(code.calls[0].args["packed"]) for code in codes} == {over == 0}
    for code in codes:
        check(layer, code)


def test_unknown_names_are_errors() -> None:
    layer = CASES["dense"]
    numbers = (layer.geometry, layer.codes, layer.bias, layer.multipliers, layer.shifts)
    choose = partial(choose_conv, *numbers, input_name="in", features=DSP)
    with pytest.raises(OptionError, match="policy"):
        choose(optimize="fast")
    with pytest.raises(OptionError, match="encoding"):
        choose(encoding="zip")
    with pytest.raises(OptionError, match="kernel"):
        choose(kernel="ef_nothing")
    with pytest.raises(DataError, match="packed4"):
        choose(encoding="packed4")
