"""Functions of int16 codes by knots (``export/functions/interpolation16.py``): TFLite and C."""

from __future__ import annotations

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CArray, LayerCode, Ref
from edgefactor.export.functions.interpolation16 import OFFSET, STEP
from edgefactor.export.ir import Tensor
from edgefactor.export.numerics import IntArray
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.parts.int32_chain import Int32Chain, View


def write_interpolated_table(
    builder: TfliteBuilder, name: str, x: Tensor, output: Tensor, table: IntArray
) -> None:
    """Append the operators of one function.

    Args:
        builder: Where to.
        name: Of the layer; temporaries are called after it.
        x: Activation, int16.
        output: Result, int16.
        table: Knots at the output's scale.
    """
    view: View = (1, 1, 1, x.elements)
    chain = Int32Chain(builder, name, view)
    above = chain.binary("ADD", chain.enter(x), chain.number(OFFSET), view)
    place, rest = chain.digits(above, STEP, view)
    # Nothing is negative, so that the division rounds down.
    base = chain.gather((table[:-1] + OFFSET) * STEP + STEP // 2, place)
    line = chain.binary("MUL", chain.gather(np.diff(table), place), rest, view)
    sums = chain.binary("ADD", base, line, view)
    whole = chain.binary("DIV", sums, chain.number(STEP), view)
    result = chain.binary("SUB", whole, chain.number(OFFSET), view)
    chain.leave(result, output, output.quant.scale)


def interpolated_table_code(x: Tensor, table: IntArray) -> LayerCode:
    """LayerCode of one function; arguments as for ``write_interpolated_table``."""
    name = "ef_table_s16"
    call = Call(
        function=name,
        struct=f"{name}_args",
        args={"count": x.elements, "table": Ref(suffix="table")},
        inputs=(x.name,),
    )
    array = CArray(suffix="table", ctype="int16_t", data=table.astype(np.int16))
    return LayerCode(
        calls=(call,), sources=(f"{name}.c", f"{name}.h"), arrays=(array,), in_place=(0,)
    )
