"""The choice of kernel and encoding: what it proves, what it prefers, what it reports."""

from dataclasses import replace

import numpy as np
import pytest

from edgefactor.errors import ModelError
from edgefactor.export.c_code.layer_code import IsaFeatures, LayerCode
from edgefactor.export.conv_kernels.catalogue import VARIANTS
from edgefactor.export.conv_kernels.choice import choose_conv
from edgefactor.export.conv_kernels.geometry import ConvGeometry, prove_ranges
from edgefactor.export.encodings.codebook import find_encodings
from tests.runtime.conv_cases import of_vectors, sparse, ternary, uniform
from tests.runtime.conv_reference import ConvLayer, conv, make_layer

DSP = IsaFeatures(dsp=True, unaligned=True)
PLAIN = IsaFeatures()
MULTIPLY_ADD = IsaFeatures(unaligned=True)
VECTORS = IsaFeatures(dsp=True, mve=True, unaligned=True)
SAME3 = (1, 1, 1, 1)


def choose(
    layer: ConvLayer,
    features: IsaFeatures = DSP,
    *,
    optimize: str = "balanced",
    scratch_limit: int = 8192,
    encoding: str | None = None,
) -> LayerCode:
    """The choice for a layer."""
    return choose_conv(
        layer.geometry,
        layer.codes,
        layer.bias,
        layer.multipliers,
        layer.shifts,
        input_name="x",
        features=features,
        optimize=optimize,
        scratch_limit=scratch_limit,
        encoding=encoding,
    )


def kernel_of(code: LayerCode) -> str:
    return code.calls[0].function


SHAPES = {
    "ef_conv2d_s8_dsp": conv((8, 8, 64), 32),
    "ef_conv2d_s8_rows_dsp": conv((8, 8, 16), 16, (3, 3), pads=SAME3),
    "ef_dense_s8_dsp": conv((1, 1, 64), 16),
    "ef_depthwise_s8_dsp": conv((8, 8, 16), 16, (3, 3), pads=SAME3, groups=16),
}


@pytest.mark.parametrize("kernel", SHAPES)
def test_shape_gets_its_kernel(kernel: str) -> None:
    layer = make_layer(kernel, SHAPES[kernel])
    assert kernel_of(choose(layer)) == kernel
    kind = "depthwise" if "depthwise" in kernel else "dense" if "dense" in kernel else "conv2d"
    assert kernel_of(choose(layer, PLAIN)) == f"ef_{kind}_s8_swar"
    any_conv = kind if kind == "depthwise" else "conv2d"
    assert kernel_of(choose(layer, MULTIPLY_ADD)) == f"ef_{any_conv}_s8"
    assert kernel_of(choose(layer, VECTORS)) == f"ef_{any_conv}_s8_mve"


@pytest.mark.parametrize("features", [PLAIN, VECTORS])
def test_dense_layer_of_sixteen_values_has_its_own_kernel(features: IsaFeatures) -> None:
    layer = make_layer("dense", conv((1, 1, 256), 128), values=16)
    wanted = "ef_dense_s8_4bit_mve" if features.mve else "ef_dense_s8_sums"
    assert kernel_of(choose(layer, features)) == wanted


@pytest.mark.parametrize("optimize", ["balanced", "speed"])
def test_two_bits_get_vector_kernels_where_there_are_some(optimize: str) -> None:
    dense = ternary(make_layer("dense", conv((1, 1, 256), 128)), 100)
    window = uniform(make_layer("window", SHAPES["ef_conv2d_s8_rows_dsp"]), 30, bits=2)
    found = [choose(layer, VECTORS, optimize=optimize) for layer in (dense, window)]
    wanted = ["ef_dense_s8_2bit_mve", "ef_conv2d_s8_mve"]
    assert [kernel_of(code) for code in found] == wanted or optimize == "speed"
    assert all(kernel_of(code).endswith("_mve") for code in found)


@pytest.mark.parametrize("features", [DSP, PLAIN, MULTIPLY_ADD, VECTORS])
@pytest.mark.parametrize("values", [2, 3])
@pytest.mark.parametrize(
    "geometry", [conv((8, 8, 32), 64, (3, 3), pads=SAME3), conv((1, 1, 512), 64)]
)
def test_few_values_are_stored_in_few_bits(
    geometry: ConvGeometry, values: int, features: IsaFeatures
) -> None:
    layer = ternary(make_layer("few", geometry), 100, share=1.0 if values == 2 else 0.6)
    code = choose(layer, features)
    assert code.weight_bytes <= 0.26 * layer.codes.size
    least = choose(layer, features, optimize="size")
    assert least.weight_bytes <= (0.13 if values == 2 else 0.26) * layer.codes.size
    raw = choose(layer, features, encoding="raw").alternatives[0].instructions
    assert code.alternatives[0].instructions < 2.5 * raw


@pytest.mark.parametrize("geometry", [conv((25, 5, 64), 64), conv((1, 1, 512), 64)])
def test_a_few_bytes_are_not_worth_twice_the_instructions(geometry: ConvGeometry) -> None:
    layer = sparse(make_layer("half at 0", geometry), 15, 0.47)
    code = choose(layer)
    options = [option for option in code.alternatives if not option.rejected]
    limit = 2.5 * min(option.instructions for option in options)
    least = min(option.flash_bytes for option in options if option.instructions <= limit)
    chosen = code.alternatives[0]
    assert chosen.encoding == "codebook"
    assert chosen.flash_bytes <= 1.06 * least
    assert chosen.instructions == min(
        option.instructions for option in options if option.flash_bytes <= 1.04 * least
    )


def test_a_vector_kernel_is_not_left_for_an_estimate_that_is_nearly_the_same() -> None:
    window = make_layer("one channel", conv((28, 28, 1), 6, (5, 5), pads=(2, 2, 2, 2)))
    assert kernel_of(choose(window, VECTORS)) == "ef_conv2d_s8_mve"


def test_kernels_of_other_cores_are_named_with_the_reason_against_them() -> None:
    options = choose(make_layer("dense", conv((1, 1, 64), 16))).alternatives
    reasons = {option.kernel: option.rejected for option in options}
    assert "vector extension" in reasons["ef_conv2d_s8_mve"]
    assert "multiplies and adds" in reasons["ef_conv2d_s8_swar"]


def test_shift_to_the_left_keeps_the_plain_kernel() -> None:
    layer = make_layer("left", SHAPES["ef_conv2d_s8_dsp"], spread=1.0e6)
    assert kernel_of(choose(layer, PLAIN)) == "ef_conv2d_s8"


@pytest.mark.parametrize("features", [DSP, PLAIN, MULTIPLY_ADD, VECTORS])
@pytest.mark.parametrize("kernel", SHAPES)
def test_sixteen_values_are_stored_at_four_bits(kernel: str, features: IsaFeatures) -> None:
    geometry = replace(
        SHAPES[kernel], in_c=64, groups=64 if SHAPES[kernel].groups > 1 else 1, out_c=64
    )
    code = choose(make_layer(kernel, geometry, values=16), features)
    weights = 64 * geometry.taps
    assert (code.encoding, code.bits, code.distinct_values) == ("codebook", 4, 16)
    assert code.weight_bytes <= 0.55 * weights


def test_speed_and_size_pull_apart() -> None:
    layer = make_layer("dense", conv((1, 1, 256), 64), values=16)
    assert choose(layer, optimize="speed").bits == 8
    assert choose(layer, optimize="size").bits == 4


def test_tiny_layer_stays_raw_because_decoder_and_table_count() -> None:
    layer = make_layer("tiny", conv((4, 4, 4), 4), values=16)
    assert choose(layer).encoding == "raw"


def test_wide_sum_takes_the_next_kernel_down_and_says_so() -> None:
    layer = make_layer("wide", conv((1, 1, 1024), 4), extreme=True, spread=30.0)
    code = choose(layer, encoding="raw")
    assert kernel_of(code) == "ef_conv2d_s8"
    reasons = {item.kernel: item.rejected for item in code.alternatives}
    assert "2^23" in reasons["ef_dense_s8_dsp"]


def test_wide_sum_of_an_odd_channel_is_no_hindrance() -> None:
    layer = make_layer("wide", conv((1, 1, 1024), 2), extreme=True, spread=30.0)
    codes = layer.codes.copy()
    codes[0] = 1
    code = choose(replace(layer, codes=codes))
    assert kernel_of(code) == "ef_dense_s8_dsp"


def test_shift_to_the_left_takes_the_portable_kernel() -> None:
    layer = make_layer("left", conv((1, 1, 16), 4), spread=3.0e6)
    assert int(layer.shifts.max()) > 0
    assert kernel_of(choose(layer)) == "ef_conv2d_s8"


def test_bias_is_folded() -> None:
    layer = make_layer("fold", conv((3, 3, 8), 4, (3, 3), in_zero_point=-5))
    proof = prove_ranges(layer.geometry, layer.codes, layer.bias, layer.shifts)
    sums = layer.codes.reshape(4, -1).sum(axis=1, dtype=np.int64)
    np.testing.assert_array_equal(proof.folded_bias, layer.bias + 5 * sums)


def test_accumulator_beyond_int32_is_an_error() -> None:
    layer = make_layer("overflow", conv((1, 1, 8), 4))
    bias = np.full(4, 2**31 - 1, np.int32)
    with pytest.raises(ModelError, match="int32"):
        choose(replace(layer, bias=bias))


def test_scratch_stays_within_its_limit_where_it_can() -> None:
    layer = make_layer("strip", conv((32, 32, 16), 16, (3, 3), pads=SAME3), values=16)
    needed = [choose(layer, scratch_limit=limit) for limit in (3000, 4096, 8192)]
    assert all(
        code.scratch_bytes <= limit for code, limit in zip(needed, (3000, 4096, 8192), strict=True)
    )
    estimates = [code.alternatives[0].instructions for code in needed]
    assert estimates == sorted(estimates, reverse=True)


def test_alternatives_name_every_kernel_and_encoding() -> None:
    layer = make_layer("all", conv((8, 8, 16), 16, (3, 3), pads=SAME3), values=16)
    code = choose(layer)
    pairs = {
        (variant.kernel, encoding.name)
        for variant in VARIANTS
        for encoding in find_encodings(layer.codes)
        if encoding.name in variant.encodings
    }
    seen = {(item.kernel, item.encoding) for item in code.alternatives}
    assert seen == pairs
    assert len(seen) == len(code.alternatives)
    assert kernel_of(code) == code.alternatives[0].kernel
    assert code.alternatives[0].rejected == ""


def test_choice_is_deterministic() -> None:
    layer = make_layer("twice", conv((8, 8, 16), 16, (3, 3), pads=SAME3), values=16)
    first, second = choose(layer), choose(layer)
    assert list(map(str, first.alternatives)) == list(map(str, second.alternatives))
    for one, other in zip(first.arrays, second.arrays, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


DENSE = make_layer("dense", conv((1, 1, 256), 64))
POINTWISE = make_layer("pointwise", conv((8, 8, 64), 64))
WINDOW = make_layer("window", conv((8, 8, 32), 32, (3, 3), pads=SAME3))


@pytest.mark.parametrize(
    ("layer", "kernel", "encoding", "share"),
    [
        (uniform(DENSE, 5), "ef_dense_s8_digits_dsp", "uniform", 0.51),
        (uniform(DENSE, 5, bits=2), "ef_dense_s8_digits_2bit_dsp", "uniform", 0.26),
        (ternary(DENSE, 100), "ef_dense_s8_digits_2bit_dsp", "uniform", 0.26),
        (uniform(WINDOW, 5, bits=2), "ef_conv2d_s8_rows_digits_2bit_dsp", "uniform", 0.26),
        (ternary(WINDOW, 127), "ef_conv2d_s8_rows_digits_2bit_dsp", "uniform", 0.26),
        (uniform(POINTWISE, 9, bits=2), "ef_conv2d_s8_digits_2bit_dsp", "uniform", 0.26),
        (ternary(POINTWISE, 1), "ef_conv2d_s8_digits_2bit_dsp", "uniform", 0.26),
        (
            of_vectors(make_layer("wide", conv((1, 1, 512), 64)), 4),
            "ef_dense_s8_vectors_dsp",
            "vector4",
            0.32,
        ),
        (sparse(DENSE, 15, 0.1), "ef_conv2d_s8_sparse", "sparse", 0.14),
        (sparse(DENSE, 100, 0.1), "ef_conv2d_s8_sparse", "sparse", 0.25),
    ],
)
def test_codes_that_allow_it_get_their_kernel(
    layer: ConvLayer, kernel: str, encoding: str, share: float
) -> None:
    code = choose(layer)
    assert (kernel_of(code), code.encoding) == (kernel, encoding)
    assert code.weight_bytes <= share * layer.codes.size


def test_vectors_are_decoded_by_tile_where_pixels_share_them() -> None:
    layer = of_vectors(make_layer("tile", conv((8, 8, 64), 64)), 4)
    code = choose(layer)
    assert (kernel_of(code), code.encoding) == ("ef_conv2d_s8_dsp", "vector4")
    assert code.weight_bytes == 1024 + 1024


@pytest.mark.parametrize("name", ["sparse", "vector4", "uniform"])
def test_every_encoding_has_a_kernel_on_a_plain_core(name: str) -> None:
    layer = {
        "sparse": sparse(DENSE, 15, 0.1),
        "vector4": of_vectors(make_layer("wide", conv((1, 1, 512), 64)), 4),
        "uniform": uniform(DENSE, 5),
    }[name]
    code = choose(layer, PLAIN, encoding=name)
    assert code.encoding == name
    assert not kernel_of(code).endswith(("_dsp", "_ref"))


def test_wide_digits_take_the_next_kernel_down_and_say_so() -> None:
    layer = make_layer("wide", conv((1, 1, 4096), 8), spread=30.0)
    codes = np.where(np.arange(4096) % 2, 105, -105).astype(np.int8)
    codes = np.broadcast_to(codes, (8, 4096)).reshape(layer.codes.shape).copy()
    codes[0, 0, 0, 0] = -105 + 14 * 3
    code = choose(replace(layer, codes=codes))
    assert kernel_of(code) != "ef_dense_s8_digits_dsp"
    reasons = {item.kernel: item.rejected for item in code.alternatives}
    assert "sum of digits" in reasons["ef_dense_s8_digits_dsp"]


def test_ternary_windows_too_deep_for_int8_are_added_up_as_digits() -> None:
    deep = make_layer("deep", conv((4, 4, 128), 8, (3, 3), pads=SAME3))
    code = choose(ternary(deep, 127))
    reasons = {item.kernel: item.rejected for item in code.alternatives}
    assert "2^23" in reasons["ef_conv2d_s8_rows_dsp"]
    assert kernel_of(code) == "ef_conv2d_s8_rows_digits_2bit_dsp"


def test_the_deepest_ternary_windows_are_gathered_one_by_one_and_say_why() -> None:
    deep = make_layer("deep", conv((4, 4, 128), 8, (3, 3), pads=SAME3))
    code = choose(ternary(deep, 127, share=0.95))
    reasons = {item.kernel: item.rejected for item in code.alternatives}
    assert "sum of digits" in reasons["ef_conv2d_s8_rows_digits_2bit_dsp"]
    assert kernel_of(code) == "ef_conv2d_s8_digits_2bit_dsp"


def test_few_zeros_are_not_sparse() -> None:
    layer = sparse(DENSE, 15, 0.6)
    assert "sparse" not in {item.encoding for item in choose(layer).alternatives}
