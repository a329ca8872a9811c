"""The operator of the Graph that stands for a recurrent layer of one direction."""

from __future__ import annotations

from dataclasses import dataclass

from edgefactor.export.functions.recurrence import Cell
from edgefactor.export.ir import Op, Quantization


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent(Op):
    """One layer in one direction.

    Inputs: sequence [1, steps, 1, inputs]; weights [gates * units, 1, 1, inputs] and bias; those
    of the last result, [gates * units, 1, 1, units] and bias; the first state, int16
    [1, 1, 1, units], with LSTM [1, 2, 1, units] for hidden units and cells, or none for zeros.

    Output: without a first state the results, int8 [1, steps, 1, units], or [1, 1, 1, units] for
    the last step alone. With one, the state of the hidden units instead, int16, and with LSTM the
    last one of the cells in a row more.

    Attributes:
        cell: Which kind; a GRU resets after the product (``linear_before_reset``).
        reverse: From the last step to the first; results stay at their steps.
        every_step: Whether all results are wanted.
        gate_scale: Scale of the inputs of the gates; 0 in a float Graph.
        gate_zero_point: Their zero point.
        input_channel_scale: For weights of the input that take few values up to one positive factor
            a row, that factor, as in ``Conv2D``; empty otherwise.
        recurrent_channel_scale: The same for the weights of the last result.
    """

    cell: Cell
    reverse: bool = False
    every_step: bool = True
    gate_scale: float = 0.0
    gate_zero_point: int = 0
    input_channel_scale: tuple[float, ...] = ()
    recurrent_channel_scale: tuple[float, ...] = ()

    @property
    def keeps_state(self) -> bool:
        """Whether it starts from a state that it is given, and returns states."""
        return len(self.inputs) > 5

    @property
    def gates(self) -> Quantization:
        """Quantization of the inputs of the gates."""
        return Quantization(scales=(self.gate_scale,), zero_point=self.gate_zero_point)
