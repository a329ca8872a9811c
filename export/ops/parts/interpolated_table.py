"""Functions of int16 codes by knots (``export/functions/interpolation16.py``): TFLite and C."""

from __future__ import annotations

import numpy as np

from edgefactor.export.c_code.layer_code import Call, CArray, LayerCode, Ref
from edgefactor.export.functions.interpolation16 import OFFSET, STEP
from edgefactor.export.ir import DType, Tensor
from edgefactor.export.numerics import IntArray
from edgefactor.export.ops.family import TfliteBuilder
from edgefactor.export.ops.parts.int32_chain import Int32Chain, View
from edgefactor.export.ops.reshape import write_reshape


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
    seen = builder.temporary(view, x.quant, f"{name}/view", DType.INT16)
    write_reshape(builder, builder.tensor(x.name), seen, view, f"{name}/shape")
    codes = chain.cast(seen, view, DType.INT16, DType.INT32)
    above = chain.binary("ADD", codes, chain.number(OFFSET), view)
    place, rest = chain.digits(above, STEP, view)
    # Nothing is negative, so that the division rounds down.
    base = chain.gather((table[:-1] + OFFSET) * STEP + STEP // 2, place)
    line = chain.binary("MUL", chain.gather(np.diff(table), place), rest, view)
    sums = chain.binary("ADD", base, line, view)
    whole = chain.binary("DIV", sums, chain.number(STEP), view)
    result = chain.binary("SUB", whole, chain.number(OFFSET), view)
    narrowed = builder.temporary(view, output.quant, f"{name}/result", DType.INT16)
    # QUANTIZE at equal scales saturates and changes nothing else.
    chain.quantize(result, narrowed, view, output.quant.scale)
    write_reshape(builder, narrowed, builder.tensor(output.name), output.shape, f"{name}/out_shape")


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
