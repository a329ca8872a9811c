"""States that a network keeps from one run to the next: which they are, and data for them.

The user names an input and the output that is its next value (``--stateful h=output1``). Data then
hold the other inputs only, and their samples are the steps of one sequence: the states start as
zeros, and the float network itself makes those of the later steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgefactor.errors import OptionError
from edgefactor.export.ir import State
from edgefactor.pipeline.config import InputShape
from edgefactor.pipeline.inputs.data import Dataset, Shape

T = TypeVar("T")
Reals = NDArray[np.float32]
#: One step of the float network: all its inputs, batch 1, -> all its outputs.
Step = Callable[[Sequence[Reals]], Sequence[Reals]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A state, by position.

    Attributes:
        name: Of the input.
        input: Number of the input.
        output: Number of the output.
    """

    name: str
    input: int
    output: int

    def named(self, outputs: Sequence[str]) -> State:
        """The state of a Graph with outputs of these names."""
        return State(input=self.name, output=outputs[self.output])


def find_states(wanted: Sequence[str], names: Sequence[str]) -> tuple[Kept, ...]:
    """What ``--stateful`` names.

    Args:
        wanted: ``input=output`` each; an output is its name, ``output1``, or its number.
        names: The model's inputs.

    Raises:
        OptionError: There is no such input, an input is named twice, or no other input is left.
    """
    states = []
    for text in wanted:
        name, _, output = text.partition("=")
        number = re.fullmatch(r"(?:output)?(\d*)", output)
        if name not in names or number is None:
            raise OptionError(
                "The model has no such state.",
                where=f"--stateful {text}",
                found=f"inputs {', '.join(names)}",
                expected="the name of an input, =, and the output with its next value: output1, "
                "or 1 for the second one",
            )
        states.append(Kept(name=name, input=names.index(name), output=int(number[1] or 0)))
    if len({state.name for state in states}) < len(states) or len(states) >= len(names):
        raise OptionError(
            "A state is named twice, or every input is a state.",
            where="--stateful",
            found=" ".join(wanted),
            expected="each input at most once, and one that is none",
        )
    return tuple(states)


def shapes_with_states(
    given: Sequence[InputShape],
    known: Sequence[Shape] | None,
    names: Sequence[str],
    states: Sequence[Kept],
) -> tuple[InputShape, ...]:
    """``--input-shape`` with the shapes of the data for the inputs that it does not name."""
    if not states or known is None:
        return tuple(given)
    named = {shape.name for shape in given}
    others = data_names(names, states)
    rest = zip(others, known, strict=False)
    return (
        *given,
        *(InputShape(name=name, dims=dims) for name, dims in rest if name not in named),
    )


def data_names(names: Sequence[str], states: Sequence[Kept]) -> tuple[str, ...]:
    """The inputs that data hold."""
    kept = {state.name for state in states}
    return tuple(name for name in names if name not in kept)


def of_data(values: Sequence[T], states: Sequence[Kept]) -> tuple[T, ...]:
    """What belongs to the inputs that data hold, of something for every input."""
    kept = {state.input for state in states}
    return tuple(value for index, value in enumerate(values) if index not in kept)


def check_states(states: Sequence[Kept], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> None:
    """Check that the outputs exist and have the shapes of the inputs.

    Raises:
        OptionError: They do not.
    """
    for state in states:
        found = outputs[state.output] if state.output < len(outputs) else None
        if found != inputs[state.input]:
            raise OptionError(
                "An output is not the next value of a state.",
                where=f"--stateful {state.name}",
                found="no such output" if found is None else f"an output of shape {list(found)}",
                expected=f"the shape {list(inputs[state.input])} of the input",
                hint=f"the model has {len(outputs)} outputs, counted from 0",
            )


def carry_states(
    data: Dataset, states: Sequence[Kept], shapes: Sequence[Shape], step: Step
) -> Dataset:
    """The data with states for every sample, as the float network carries them.

    Args:
        data: Samples of the other inputs, the steps of one sequence.
        states: Which inputs are missing.
        shapes: Of all inputs, batch 1.
        step: Runs the float network.
    """
    if not states:
        return data
    held = {state.input: np.zeros(shapes[state.input], np.float32) for state in states}
    rows: list[list[Reals]] = []
    for index in range(data.samples):
        rest = iter(data.sample(index))
        rows.append([held[i] if i in held else next(rest) for i in range(len(shapes))])
        if index + 1 < data.samples:
            outputs = step(rows[-1])
            held = {
                state.input: np.asarray(outputs[state.output], np.float32).reshape(
                    shapes[state.input]
                )
                for state in states
            }
    inputs = tuple(np.concatenate([row[i] for row in rows]) for i in range(len(shapes)))
    return replace(data, inputs=inputs, labels=None)
