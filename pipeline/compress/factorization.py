"""What all factorizations share: replace, refit, balance, and refuse what does not pay."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.pipeline.compress import observe
from edgefactor.pipeline.compress.balance import balance_factors
from edgefactor.pipeline.compress.context import Context
from edgefactor.pipeline.compress.layer_cost import LayerCost, cost_of_layer, target_of
from edgefactor.pipeline.compress.layers import replace_module
from edgefactor.pipeline.compress.method import Method, Options, PerLayer, StepResult, check_range
from edgefactor.pipeline.compress.refit import refit_last

Ranks = tuple[int, ...]
FloatArray = NDArray[np.float64]

#: What is judged where no target was named.
_DEFAULT_TARGET = "cortex-m4"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorOptions(Options):
    """Options of every factorization.

    Attributes:
        must_save: What the factors must save on the target by the cost model, else the layer
            stays as it is; "nothing" replaces it in any case.
        refit: Whether the last factor is fitted to the original layer's outputs, if there is data.
        balance: Whether the free scales between the factors are set for int8.
        samples: Inputs that are used for both.
    """

    must_save: Literal["instructions", "flash", "either", "nothing"] = "instructions"
    refit: bool = True
    balance: bool = True
    samples: int = 256

    def __post_init__(self) -> None:
        check_range("samples", self.samples, 1, 1 << 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions(FactorOptions):
    """Options of the factorizations that have a rank.

    Attributes:
        rank: Components to keep, or below 1 the part of all; None: as ``choose`` says.
        rank_in: Of the inputs, where they have a rank of their own (Tucker); None: like ``rank``.
        choose: By the share of energy that is kept, by EVBMF, or by what each layer's rank does
            to the model's output, within a budget.
        energy: Share of the squared singular values, for "energy".
        budget: Part of the layers' multiplications that may be left, for "sensitivity".
    """

    rank: PerLayer | None = None
    rank_in: PerLayer | None = None
    choose: Literal["energy", "evbmf", "sensitivity"] = "energy"
    energy: float = 0.9
    budget: float = 0.5

    def __post_init__(self) -> None:
        # Named, not super(): a slotted dataclass is a copy of the class that super() would mean.
        FactorOptions.__post_init__(self)
        check_range("energy", self.energy, 0, 1, open_low=True)
        check_range("budget", self.budget, 0, 1, open_low=True)
        for option, given in (("rank", self.rank), ("rank_in", self.rank_in)):
            for number in given.numbers if given else ():
                check_range(option, number, 0, 1 << 30, open_low=True)


class Factorization(Method):
    """Replaces layers by a sequence of plain ones."""

    options = FactorOptions
    replaces_layers = True
    #: Whether the last factor's weights are free to be fitted.
    refits = True

    @abstractmethod
    def fits(self, layer: nn.Module, options: Any = None) -> str:
        """Why the method has nothing to do with a layer; empty if it can replace it.

        Args:
            layer: The layer.
            options: Of the step; None to ask about the layer alone.
        """

    @abstractmethod
    def replacements(
        self, model: nn.Module, names: Sequence[str], options: Any, site: Site
    ) -> dict[str, tuple[nn.Sequential, dict[str, Any]]]:
        """What takes the place of each layer that should be replaced, and figures about it."""

    def finish(self, new: nn.Sequential) -> None:
        """What is done to factors at last, when their weights are settled."""

    def apply(
        self, model: nn.Module, layer_names: Sequence[str], options: Any, context: Context
    ) -> StepResult:
        """Replaces the layers that fit and pay; see the base class."""
        reasons = {name: self.fits(model.get_submodule(name), options) for name in layer_names}
        names = [name for name in layer_names if not reasons[name]]
        notes = [f"{name} stays: {reason}" for name, reason in reasons.items() if reason]
        if not names:
            raise OptionError(
                f"No layer of the step can be replaced by {self.name}", found="; ".join(notes)
            )
        site = Site.of(model, names, options, context)
        figures: dict[str, dict[str, Any]] = {}
        replacements = self.replacements(model, names, options, site)
        notes += [
            f"{name} stays: the budget of multiplications is kept with less error without it"
            for name in names
            if name not in replacements
        ]
        for name, (new, facts) in replacements.items():
            layer = model.get_submodule(name)
            before, after = site.cost(name, layer), site.cost(name, new)
            facts |= _figures(before, after)
            refused = _refusal(before, after, options.must_save)
            if refused:
                notes.append(f"{name} stays: {refused}")
                continue
            replace_module(model, name, new)
            if self.refits and options.refit and site.inputs is not None:
                fitted = refit_last(
                    site.original, model, name, site.inputs, context.generator(len(figures))
                )
                facts |= {"output_error": fitted.after, "output_error_unfitted": fitted.before}
            if options.balance:
                facts["balance_gain"] = balance_factors(model, new, site.inputs)
            self.finish(new)
            figures[name] = facts
        return StepResult(layers=figures, figures=_sums(figures), notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """Where the layers of a step live: the model as it was, inputs, shapes, target.

    Attributes:
        original: A copy of the model from before the step.
        inputs: Model inputs; None if there is no data.
        shapes: Input shape of each layer for one sample; empty without data.
        target: What costs are estimated for.
    """

    original: nn.Module
    inputs: tuple[Tensor, ...] | None
    shapes: dict[str, tuple[int, ...]]
    target: CTarget

    @classmethod
    def of(
        cls, model: nn.Module, names: Sequence[str], options: FactorOptions, context: Context
    ) -> Site:
        """Looks at a model before anything is replaced."""
        inputs = context.inputs(options.samples) if context.train is not None else None
        return cls(
            original=copy.deepcopy(model).requires_grad_(False),
            inputs=inputs,
            shapes={} if inputs is None else observe.input_shapes(model, names, inputs),
            target=target_of(context.target or _DEFAULT_TARGET),
        )

    def cost(self, name: str, layer: nn.Module) -> LayerCost:
        """What a layer in the place of ``name`` costs.

        Without data the size of its map is not known; one just large enough for its window stands
        in, on which layers compare as on any other.
        """
        shape = self.shapes.get(name) or _least_shape(self.original.get_submodule(name))
        return cost_of_layer(layer, shape, self.target)


def _least_shape(layer: nn.Module) -> tuple[int, ...]:
    if isinstance(layer, nn.Conv2d):
        spans = [d * (k - 1) + 8 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return (1, layer.in_channels, *spans)
    assert isinstance(layer, nn.Linear)
    return (1, layer.in_features)


def _figures(before: LayerCost, after: LayerCost) -> dict[str, Any]:
    return {
        "parameters": (before.parameters, after.parameters),
        "multiplies": (before.multiplies, after.multiplies),
        "estimated_instructions": (before.instructions, after.instructions),
        "estimated_flash_bytes": (before.flash_bytes, after.flash_bytes),
    }


def _sums(figures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    keys = ("parameters", "multiplies", "estimated_instructions", "estimated_flash_bytes")
    return {
        key: tuple(sum(facts[key][side] for facts in figures.values()) for side in (0, 1))
        for key in keys
    }


def _refusal(before: LayerCost, after: LayerCost, must_save: str) -> str:
    """Why factors do not pay, with the figures; empty if they do."""
    faster = after.instructions < before.instructions
    smaller = after.flash_bytes < before.flash_bytes
    pays = {"instructions": faster, "flash": smaller, "either": faster or smaller, "nothing": True}
    if pays[must_save]:
        return ""
    return (
        f"the factors would take about {after.instructions:,} instructions and "
        f"{after.flash_bytes:,} bytes where the layer takes {before.instructions:,} and "
        f"{before.flash_bytes:,}"
    )
