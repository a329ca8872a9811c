"""The C of a batched matrix product: steps of all operands, and the choice of kernel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgefactor.errors import UnsupportedOperatorError
from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, CValue, LayerCode, Ref
from edgefactor.export.ir import DType, Tensor

#: Loops over matrices in ``ef_matmul_args``.
BATCH_LOOPS = 3
#: Packed columns that are kept at a time, in bytes; more only saves packing rows again.
_PACKED_BYTES = 4096
#: Right shifts and depths for which the requantization of the kernel for SMLAD is exact.
_DSP_SHIFTS, _DSP_DEPTH = range(1, 23), 2**30 // 255**2
#: The same for int16, whose scales are powers of two: one multiplier, and these right shifts.
_WIDE_MULTIPLIER, _WIDE_SHIFTS = 2**14, range(15, 47)

_HEADERS = ("ef_matmul.h", "ef_numerics.h")
#: What a kernel needs besides, by the end of its name.
_SOURCES: dict[str, tuple[str, ...]] = {
    "s8": ("ef_dot_fours.h", "ef_dot_fours.c"),
    "s8_dsp": ("ef_simd.h", "ef_attributes.h"),
    "s8_mve": ("ef_mve.h", "ef_conv2d.h", "ef_weights.h"),
    "s16": ("ef_wide.h", "ef_attributes.h"),
    "s16_dsp": (
        "ef_wide.h",
        "ef_simd.h",
        "ef_attributes.h",
        "ef_wide_products.h",
        "ef_wide_products_run.c",
    ),
}


def _steps(shape: Sequence[int], perm: Sequence[int]) -> list[int]:
    """Distance in memory along each axis after the permutation; 0 along axes of size 1."""
    row_major = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return [row_major[axis] if shape[axis] > 1 else 0 for axis in perm]


def _batch_loops(
    sizes: Sequence[int], steps: Sequence[Sequence[int]], where: str
) -> tuple[list[int], list[list[int]]]:
    """Loops over matrices, merged where all three tensors allow it."""
    loops: list[tuple[int, list[int]]] = []
    for axis, size in enumerate(sizes):
        own = [step[axis] for step in steps]
        if size == 1:
            continue
        if loops and loops[-1][1] == [size * step for step in own]:
            loops[-1] = (loops[-1][0] * size, own)
        else:
            loops.append((size, own))
    if len(loops) > BATCH_LOOPS:
        raise UnsupportedOperatorError(
            "A matrix product has more batch axes than the C kernel has loops.",
            where=f"layer {where}",
            found=f"{len(loops)} independent axes",
            expected=f"at most {BATCH_LOOPS}",
            hint="merge batch axes by a reshape",
        )
    loops = [(1, [0, 0, 0])] * (BATCH_LOOPS - len(loops)) + loops
    return [size for size, _ in loops], [[own[i] for _, own in loops] for i in range(3)]


def matmul_code(
    inputs: Sequence[Tensor],
    output: Tensor,
    perms: tuple[Sequence[int], Sequence[int], Sequence[int]],
    requantization: tuple[int, int],
    target: CTarget,
) -> LayerCode:
    """LayerCode of ``output = first @ second``.

    Args:
        inputs: Both operands as they are stored.
        output: The result as it is stored.
        perms: Of the operands: from stored to [*batch, rows, depth] and [*batch, depth, columns];
            of the result: from [*batch, rows, columns] to stored.
        requantization: Multiplier and shift; for int16 the reduced multiplier and the shift to the
            right.
        target: Instruction set.
    """
    first, second = (_steps(t.shape, p) for t, p in zip(inputs, perms[:2], strict=True))
    inverse = [int(axis) for axis in np.argsort(perms[2])]
    result = _steps(output.shape, inverse)
    rank = len(result)
    first, second = ([0] * (rank - len(own)) + own for own in (first, second))
    sizes = [output.shape[axis] for axis in inverse]
    depth = inputs[0].shape[perms[0][-1]]
    counts, batch = _batch_loops(sizes[:-2], [first[:-2], second[:-2], result[:-2]], output.name)
    multiplier, shift = requantization
    wide = output.dtype is DType.INT16
    if wide:
        batch = [[output.dtype.bytes * step for step in steps] for steps in batch]
    by_pairs = target.features.dsp and -shift in _DSP_SHIFTS and depth <= _DSP_DEPTH
    kernel = "s8"
    if wide:
        exact = multiplier == _WIDE_MULTIPLIER and shift in _WIDE_SHIFTS
        kernel = "s16_dsp" if target.features.dsp and exact else "s16"
    elif target.features.mve:
        kernel = "s8_mve"
    elif by_pairs:
        kernel = "s8_dsp"
    fast = kernel in ("s8_dsp", "s16_dsp")
    padded = -(-depth // 4) * 4
    # All kernels pack 4 columns at a time; int16 for SMLAD, bytes with a sum each otherwise.
    column_bytes = 2 * padded if fast else depth + 4
    columns = -(-sizes[-1] // 4) * 4
    tile = min(columns, max(4, _PACKED_BYTES // column_bytes // 4 * 4))
    row_bytes = 2 * 2 * padded if fast else depth
    args: dict[str, CValue] = {
        "batch": tuple(counts),
        "batch_step1": tuple(batch[0]),
        "batch_step2": tuple(batch[1]),
        "batch_step_out": tuple(batch[2]),
        "rows": sizes[-2],
        "depth": depth,
        "columns": sizes[-1],
        "tile": tile,
        "row_step1": first[-2],
        "depth_step1": first[-1],
        "depth_step2": second[-2],
        "column_step2": second[-1],
        "row_step_out": result[-2],
        "column_step_out": result[-1],
        "zero_point1": inputs[0].quant.zero_point,
        "zero_point2": inputs[1].quant.zero_point,
        "out_zero_point": output.quant.zero_point,
        "multiplier": multiplier,
        "shift": shift,
    }
    arrays: list[CArray] = []
    names: list[str | Ref] = []
    for label, tensor in zip(("first", "second"), inputs, strict=True):
        if tensor.data is None:
            names.append(tensor.name)
        else:
            codes = np.asarray(tensor.data, str(tensor.dtype)).reshape(-1)
            ctype = f"{tensor.dtype}_t"
            arrays.append(CArray(suffix=label, ctype=ctype, data=codes, section="weights"))
            names.append(Ref(suffix=label))
    name = f"ef_matmul_{kernel}"
    call = Call(
        function=name, struct="ef_matmul_args", args=args, inputs=tuple(names), scratch=True
    )
    return LayerCode(
        calls=(call,),
        sources=(*_HEADERS, f"{name}.c", *_SOURCES[kernel]),
        arrays=tuple(arrays),
        scratch_bytes=0 if kernel == "s16" else tile * column_bytes + row_bytes,
        weight_bytes=sum(array.data.nbytes for array in arrays),
        bits=8 * output.dtype.bytes if arrays else 0,
        encoding="raw" if arrays else "",
        distinct_values=sum(len(np.unique(array.data)) for array in arrays),
    )
