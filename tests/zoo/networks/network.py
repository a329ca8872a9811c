"""A network that grows step by step, and where its decisions come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

T = TypeVar("T")
Shape = tuple[int, ...]
Real = NDArray[np.float32]
OPSET = 18
#: Elements that a tensor may have, at most.
LARGEST = 600
#: Token ids are below this: more than int8 holds.
TOKENS = 700


class Draw(Protocol):
    """Where decisions come from."""

    def integer(self, low: int, high: int) -> int:
        """A number in [low, high]."""


@dataclass(frozen=True, slots=True)
class SeededDraw:
    """Decisions from a generator."""

    generator: np.random.Generator

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))


@dataclass(frozen=True, slots=True)
class HypothesisDraw:
    """Decisions from hypothesis; ``draw`` is what a composite strategy is given."""

    draw: Callable[..., Any]

    def integer(self, low: int, high: int) -> int:
        from hypothesis import strategies as st

        return int(self.draw(st.integers(low, high)))


@dataclass(slots=True)
class Network:
    """A network while it grows.

    Attributes:
        draw: Decides.
        generator: Gives weights.
        shapes: Shape of every activation, in order.
        truths: Those that few operators take: truth values, indices.
        tokens: Inputs of token ids.
    """

    draw: Draw
    generator: np.random.Generator
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    truths: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)

    def choose(self, options: Sequence[T]) -> T:
        return options[self.draw.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        return bool(self.draw.integer(0, 1))

    def constant(self, array: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int) -> str:
        return self.constant(self.generator.standard_normal(shape).astype(np.float32))

    def node(self, kind: str, inputs: Sequence[str], *shapes: Shape, **attributes: Any) -> str:
        names = [f"v{len(self.shapes) + index}" for index in range(len(shapes))]
        number = len(self.nodes)
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"n{number}", **attributes))
        self.shapes.update(zip(names, shapes, strict=True))
        return names[0]

    def truth(self, kind: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """A node of truth values or indices, which few operators take."""
        self.truths.add(name := self.node(kind, inputs, shape, **attributes))
        return name

    @property
    def numbers(self) -> dict[str, Shape]:
        """The activations that any operator takes."""
        return {name: shape for name, shape in self.shapes.items() if name not in self.truths}

    def shape(self, value: str) -> Shape:
        return self.shapes[value]

    def model(self, outputs: Sequence[str], opset: int = OPSET) -> onnx.ModelProto:
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "network",
                [self._info(name) for name in self.inputs],
                [self._info(name) for name in outputs],
                self.constants,
            ),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=9,
        )
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)

    def _info(self, name: str) -> onnx.ValueInfoProto:
        whole = name in self.tokens
        kind = onnx.TensorProto.INT64 if whole else onnx.TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, self.shape(name))
