"""TFLite's elementwise int8 builtins on codes, and chains of them that make other functions.

A chain is both the operators that a TFLite file gets and, evaluated on all 256 codes, the table
that the C gets: the two cannot differ. The integer forms were compared with LiteRT's reference
kernels and with TFLM on all codes; where those two disagree the chain avoids the spot.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefactor.export import numerics
from edgefactor.export.ir import DType, Quantization
from edgefactor.export.numerics import INT8_MAX, INT8_MIN, IntArray, float32
from edgefactor.export.numerics import multiply_by_quantized_multiplier as scale_by

if TYPE_CHECKING:  # the families import this module
    from edgefactor.export.ops.family import TfliteBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One builtin of a chain.

    Attributes:
        builtin: TFLite's name.
        sources: Values it reads: 0 is the chain's input, i the result of the i-th step.
        output: Quantization of its result.
        compute: Codes of the sources -> codes of the result.
        constant: A second operand, as codes of one value.
        options: Option table.
        version: Lowest version with int8.
        fields: Fields of the option table.
    """

    builtin: str
    sources: tuple[int, ...]
    output: Quantization
    compute: Callable[..., IntArray]
    constant: tuple[int, Quantization] | None = None
    options: str = ""
    version: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)


Chain = tuple[Step, ...]
#: Bits by which ADD and SUB widen their operands.
HEADROOM_BITS = {DType.INT8: 20, DType.INT16: 15}


def evaluate(chain: Chain, codes: IntArray) -> IntArray:
    """The codes that a chain makes of input codes."""
    values = [np.asarray(codes, np.int64)]
    for step in chain:
        values.append(step.compute(*(values[source] for source in step.sources)))
    return values[-1]


def write(
    chain: Chain,
    ends: tuple[int, int],
    shape: tuple[int, ...],
    builder: TfliteBuilder,
    name: str,
    dtype: DType = DType.INT8,
) -> None:
    """Write a chain between two tensors of a TFLite file, which share a shape and a type."""
    source, result = ends
    indices = [source]
    for count, step in enumerate(chain, 1):
        label = f"{name}/{step.builtin.lower()}{count}"
        operands = [indices[number] for number in step.sources]
        if step.constant is not None:
            code, quantization = step.constant
            data = np.array([code], str(dtype))
            operands.append(builder.constant(data, quantization, f"{label}.constant"))
        if count == len(chain):
            indices.append(result)
        else:
            indices.append(builder.temporary(shape, step.output, label, dtype))
        builder.op(
            step.builtin,
            operands,
            [indices[-1]],
            step.options,
            version=step.version,
            **step.fields,
        )


def saturate(codes: IntArray) -> IntArray:
    """Keep codes within int8."""
    return np.clip(codes, INT8_MIN, INT8_MAX)


def _rescale(centred: IntArray, real: float, output: Quantization) -> IntArray:
    return scale_by(centred, *numerics.quantize_multiplier(real)) + output.zero_point


def requantize(x: Quantization, output: Quantization, source: int = 0) -> Step:
    """The same real value at another scale."""

    def compute(codes: IntArray) -> IntArray:
        return saturate(_rescale(codes - x.zero_point, x.scale / output.scale, output))

    return Step(
        builtin="QUANTIZE",
        sources=(source,),
        output=output,
        compute=compute,
        options="QuantizeOptions",
    )


def relu(x: Quantization, output: Quantization) -> Step:
    """max(x, 0)."""

    def compute(codes: IntArray) -> IntArray:
        scaled = _rescale(codes - x.zero_point, x.scale / output.scale, output)
        return np.clip(scaled, output.zero_point, INT8_MAX)

    return Step(builtin="RELU", sources=(0,), output=output, compute=compute, version=2)


def leaky_relu(x: Quantization, output: Quantization, alpha: float) -> Step:
    """X where it is positive, alpha * x elsewhere."""
    slope = float32(alpha)

    def compute(codes: IntArray) -> IntArray:
        centred = codes - x.zero_point
        positive = _rescale(centred, x.scale / output.scale, output)
        negative = _rescale(centred, x.scale * slope / output.scale, output)
        return saturate(np.where(centred >= 0, positive, negative))

    return Step(
        builtin="LEAKY_RELU",
        sources=(0,),
        output=output,
        compute=compute,
        options="LeakyReluOptions",
        version=2,
        fields={"alpha": slope},
    )


def absolute(x: Quantization, output: Quantization) -> Step:
    """|x|."""

    def compute(codes: IntArray) -> IntArray:
        return saturate(_rescale(np.abs(codes - x.zero_point), x.scale / output.scale, output))

    return Step(builtin="ABS", sources=(0,), output=output, compute=compute, options="AbsOptions")


def add_codes(
    first: IntArray,
    second: IntArray,
    quantizations: Sequence[Quantization],
    output: Quantization,
    sign: int = 1,
    dtype: DType = DType.INT8,
) -> IntArray:
    """Unclamped codes of ``first + sign * second``: ADD and SUB.

    Both inputs are scaled to twice the larger scale with so many more bits as their type leaves
    room for, added, and scaled back.
    """
    bits = HEADROOM_BITS[dtype]
    twice = 2 * max(q.scale for q in quantizations)
    scaled = [
        scale_by(
            (np.asarray(codes, np.int64) - q.zero_point) << bits,
            *numerics.quantize_multiplier(q.scale / twice),
        )
        for codes, q in zip((first, second), quantizations, strict=True)
    ]
    return _rescale(scaled[0] + sign * scaled[1], twice / (2**bits * output.scale), output)


def multiply_codes(
    first: IntArray,
    second: IntArray,
    quantizations: Sequence[Quantization],
    output: Quantization,
) -> IntArray:
    """Unclamped codes of ``first * second``: MUL."""
    a, b = quantizations
    product = (np.asarray(first, np.int64) - a.zero_point) * (
        np.asarray(second, np.int64) - b.zero_point
    )
    return _rescale(product, a.scale * b.scale / output.scale, output)


@functools.lru_cache(maxsize=4096)
def product_is_settled(
    first: Quantization, second: Quantization, output: Quantization, code: int | None = None
) -> bool:
    """Whether LiteRT and TFLM give the same codes for all products of two int8 tensors.

    LiteRT computes the real multiplier in single precision, TFLM and ``multiply_codes`` in double.
    With one pair of scales in twenty there is a product that the two round to different codes.

    Args:
        first: Quantization of an operand.
        second: Of the other one.
        output: Of the result.
        code: The only code of the second operand, if it has one.
    """
    every = np.arange(INT8_MIN, INT8_MAX + 1)
    others = every if code is None else np.array([code])
    product = (every - first.zero_point)[:, None] * (others - second.zero_point)
    scales = [np.float32(q.scale) for q in (first, second, output)]
    single, double = (
        scale_by(product, *numerics.quantize_multiplier(float(real)))
        for real in (
            scales[0] * scales[1] / scales[2],
            first.scale * second.scale / output.scale,
        )
    )
    differ = single != double
    if not differ.any():
        return True
    clamped = [saturate(codes[differ] + output.zero_point) for codes in (single, double)]
    return bool((clamped[0] == clamped[1]).all())


def add_constant(x: Quantization, real: float, output: Quantization, source: int = 0) -> Step:
    """X + real; the constant is exact up to float32."""
    code, constant = _exact(real)

    def compute(codes: IntArray) -> IntArray:
        return saturate(add_codes(codes, np.array(code), (x, constant), output))

    return Step(
        builtin="ADD",
        sources=(source,),
        output=output,
        compute=compute,
        constant=(code, constant),
        options="AddOptions",
        version=2,
    )


def multiply_constant(x: Quantization, real: float, output: Quantization, source: int = 0) -> Step:
    """X * real; the constant is exact up to float32."""
    code, constant = _exact(real)

    def compute(codes: IntArray) -> IntArray:
        return saturate(multiply_codes(codes, np.array(code), (x, constant), output))

    return Step(
        builtin="MUL",
        sources=(source,),
        output=output,
        compute=compute,
        constant=(code, constant),
        options="MulOptions",
        version=2,
    )


def multiply(
    quantizations: tuple[Quantization, Quantization], output: Quantization, sources: tuple[int, int]
) -> Step:
    """The product of two values of a chain."""

    def compute(first: IntArray, second: IntArray) -> IntArray:
        return saturate(multiply_codes(first, second, quantizations, output))

    return Step(
        builtin="MUL",
        sources=sources,
        output=output,
        compute=compute,
        options="MulOptions",
        version=2,
    )


def _exact(real: float) -> tuple[int, Quantization]:
    """Code and scale of a constant, with the code at the end of its range."""
    if real == 0.0:
        return 0, Quantization(scales=(1.0,))
    scale = float32(abs(real) / INT8_MAX)
    return (INT8_MAX if real > 0 else -INT8_MAX), Quantization(scales=(scale,))


def bound(codes: Quantization, low: float | None, high: float | None, source: int) -> Chain:
    """MAXIMUM and MINIMUM that keep real values within [low, high]; none where int8 does it."""
    steps: list[Step] = []
    for builtin, end, choose in (("MAXIMUM", low, np.maximum), ("MINIMUM", high, np.minimum)):
        if end is None:
            continue
        limit = int(saturate(np.array(round(end / codes.scale) + codes.zero_point)))
        if limit == (INT8_MIN if builtin == "MAXIMUM" else INT8_MAX):
            continue
        steps.append(
            Step(
                builtin=builtin,
                sources=(source + len(steps),),
                output=codes,
                compute=lambda x, limit=limit, choose=choose: choose(x, limit),
                constant=(limit, codes),
                options="MaximumMinimumOptions",
                version=2,
            )
        )
    return tuple(steps)
