"""The contract of a compression method, and how its options are read from a recipe.

A method is one subclass of `Method` in a file of its own, listed once in `METHODS`
(``pipeline/compress/__init__.py``). It changes the model in place: it replaces modules by plain
``torch.nn`` modules, or hangs a parametrization on their weights that `freeze` resolves later.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from edgefactor.errors import OptionError

if TYPE_CHECKING:
    from edgefactor.pipeline.compress.context import Context


class Need(Enum):
    """What a step cannot do without."""

    NOTHING = "nothing"
    DATA = "data"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Base of every method's options. All fields have defaults; ``__post_init__`` validates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerLayer:
    """One number for all layers of a step, or one a pattern: ``{fc1 = 0.08, "*" = 0.26}``.

    Attributes:
        entries: (pattern, value) in the order of the recipe; the first that matches counts.
    """

    entries: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, value: float | Mapping[str, float]) -> PerLayer:
        """From a number or a mapping of patterns."""
        items = value.items() if isinstance(value, Mapping) else (("*", value),)
        return cls(entries=tuple((pattern, float(number)) for pattern, number in items))

    def value(self, layer: str) -> float:
        """The number for `layer`.

        Raises:
            OptionError: If no pattern matches it.
        """
        for pattern, number in self.entries:
            if fnmatchcase(layer, pattern):
                return number
        patterns = ", ".join(pattern for pattern, _ in self.entries)
        raise OptionError(
            "No entry of the option fits a layer of the step",
            where=layer,
            found=patterns,
            hint='Add an entry for it, or "*" for all others.',
        )

    @property
    def numbers(self) -> tuple[float, ...]:
        """All values, for validation."""
        return tuple(number for _, number in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of a recipe.

    Attributes:
        method: The method's name.
        layers: fnmatch patterns on module paths; ``!pattern`` leaves layers out.
        options: An instance of the method's `Options`.
    """

    method: str
    layers: tuple[str, ...] = ("*",)
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step did, as plain data for reports.

    Attributes:
        layers: For each layer it touched (old name), its figures.
        figures: Figures of the step as a whole.
        notes: What the user should know, e.g. layers that were refused and why.
    """

    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Method(ABC):
    """One way to make a model smaller."""

    name: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[type[Options]] = Options
    #: Layers that patterns are matched against.
    layer_types: ClassVar[tuple[type[nn.Module], ...]] = (nn.Conv2d, nn.Linear)
    #: Whether layers get new paths, which patterns of later steps may name.
    replaces_layers: ClassVar[bool] = False

    def needs(self, options: Any) -> Need:
        """What a step with these options needs; checked before the first step runs."""
        return Need.NOTHING

    @abstractmethod
    def apply(
        self, model: nn.Module, layer_names: Sequence[str], options: Any, context: Context
    ) -> StepResult:
        """Changes `model` in place.

        Args:
            model: The whole model.
            layer_names: Paths of the modules to change, in the model's order, of `layer_types`.
            options: An instance of the class's `options`.
            context: Data, seed, trainer, target.

        Raises:
            OptionError: If an option does not fit a layer, e.g. a rank larger than it.
            DataError: If data or labels are needed and missing.
        """


def parse_options(kind: type[Options], values: Mapping[str, Any], *, where: str) -> Options:
    """Builds the options of a method from a recipe's table.

    Args:
        kind: The options' class.
        values: Keys as in the recipe; ``learning-rate`` and ``learning_rate`` are the same.
        where: The step, for messages.

    Raises:
        OptionError: If a key is unknown or a value has the wrong type or range.
    """
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise OptionError(
                "The method has no such option",
                where=where,
                found=key,
                expected=", ".join(known) or "no options",
                hint=f"Did you mean {close[0]}?" if close else "",
            )
        arguments[name] = _convert(value, hints[name], f"{where}, {key}")
    try:
        return kind(**arguments)
    except OptionError as error:
        if error.where.startswith(where):
            raise
        place = f"{where}, {error.where}" if error.where else where
        raise OptionError(
            error.message,
            where=place,
            found=error.found,
            expected=error.expected,
            hint=error.hint,
        ) from error


_IN_WORDS = {
    PerLayer: "a number, or a table of numbers by layer pattern",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}


def _convert(value: Any, kind: Any, where: str) -> Any:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
        return _convert(value, choices[0], where)
    if isinstance(kind, type) and issubclass(kind, Options):
        if isinstance(value, Mapping):
            return parse_options(kind, value, where=where)
    elif kind is PerLayer:
        numbers = value.values() if isinstance(value, Mapping) else (value,)
        if numbers and all(_is_number(number) for number in numbers):
            return PerLayer.of(value)
    elif typing.get_origin(kind) is typing.Literal:
        if value in typing.get_args(kind):
            return value
        raise OptionError(
            "The option has no such choice",
            where=where,
            found=repr(value),
            expected=", ".join(map(str, typing.get_args(kind))),
        )
    elif typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(_convert(part, inner, where) for part in value)
    elif kind is float:
        if _is_number(value):
            return float(value)
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(kind, type) and isinstance(value, kind):
        return value
    raise OptionError(
        "The option has a value of the wrong type",
        where=where,
        found=repr(value),
        expected=_IN_WORDS.get(kind, "a list" if typing.get_origin(kind) is tuple else "a table"),
    )


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def check_range(
    option: str, value: float, low: float, high: float, *, open_low: bool = False
) -> None:
    """Refuses an option outside ``[low, high]``, or ``(low, high]`` with `open_low`.

    Raises:
        OptionError: If it is outside, or not a number.
    """
    inside = (low < value if open_low else low <= value) and value <= high
    if not inside:
        bracket = "(" if open_low else "["
        raise OptionError(
            "The option is out of range",
            where=option,
            found=f"{value:g}",
            expected=f"{bracket}{low:g}, {high:g}]",
        )
