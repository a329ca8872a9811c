"""The C of any function of one int8 tensor: a linear form if one fits, else a table."""

from __future__ import annotations

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CArray, CTarget, LayerCode, Ref
from edgefactor.export.functions import linear_forms
from edgefactor.export.numerics import IntArray

#: All codes in order; the domain of every table.
CODES: IntArray = np.arange(-128, 128, dtype=np.int64)


def unary_code(table: IntArray, x: str, elements: int, slope: float, target: CTarget) -> LayerCode:
    """LayerCode of ``out[i] = table[in[i]]``.

    Args:
        table: Output codes for the codes -128 to 127 in order.
        x: Name of the input tensor.
        elements: Number of elements.
        slope: Real change of the output per input code where the function is linear; 0 if it is
            known not to be.
        target: Where speed is all that counts a table is taken even where a linear form fits: it
            takes fewer instructions and 256 bytes more.
    """
    form = None
    if slope and target.optimize != "speed":
        form = linear_forms.fit([CODES], table, [slope])
    if form is not None:
        call = Call(
            function="ef_linear_s8",
            struct="ef_linear_args",
            args={
                "count": elements,
                "multiplier": form.multipliers[0],
                "offset": form.offset,
                "shift": form.shift,
            },
            inputs=(x,),
        )
        return LayerCode(
            calls=(call,),
            sources=("ef_linear_s8.c", "ef_linear.h", "ef_saturate.h"),
            in_place=(0,),
        )
    # The C indexes by the code's byte: 0 to 127, then -128 to -1.
    by_byte = np.roll(np.asarray(table), -128).astype(np.int8)
    call = Call(
        function="ef_lookup_s8",
        struct="ef_lookup_args",
        args={"count": elements, "table": Ref(suffix="table")},
        inputs=(x,),
    )
    return LayerCode(
        calls=(call,),
        sources=("ef_lookup_s8.c", "ef_lookup.h"),
        arrays=(CArray(suffix="table", ctype="int8_t", data=by_byte),),
        in_place=(0,),
    )
