"""Factorizations that have a rank: which one each layer gets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress import observe
from edgefactor.pipeline.compress.context import first_output
from edgefactor.pipeline.compress.factorization import (
    Factorization,
    FloatArray,
    RankOptions,
    Ranks,
    Site,
)
from edgefactor.pipeline.compress.layers import replace_module
from edgefactor.pipeline.compress.losses import are_probabilities
from edgefactor.pipeline.compress.method import PerLayer
from edgefactor.pipeline.compress.ranks import Candidate, allocate, energy_rank, evbmf_rank

#: Parts of the largest useful rank that are tried for sensitivity.
FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)
#: Of a layer with more inputs than this the second moment is not looked at: its eigenvectors
#: would take minutes.
_MOST_INPUTS = 1024
#: Inputs on which one candidate is judged.
_JUDGED = 128
#: Probabilities below this count as this.
_LEAST = 1e-6


class RankedFactorization(Factorization):
    """A factorization whose size is one rank, or one for outputs and one for inputs."""

    options = RankOptions
    #: Whether `build` can use the second moment of the layer's inputs.
    uses_moment = False

    @abstractmethod
    def matrices(self, layer: nn.Module) -> tuple[FloatArray, ...]:
        """The matrix whose rank each number of `full_ranks` is."""

    @abstractmethod
    def full_ranks(self, layer: nn.Module) -> Ranks:
        """The ranks at which nothing is lost."""

    @abstractmethod
    def build(self, layer: nn.Module, ranks: Ranks, moment: FloatArray | None) -> nn.Sequential:
        """The factors.

        Args:
            layer: The layer to replace.
            ranks: As many as `full_ranks`, none larger.
            moment: Mean of ``x x'`` over the inputs' channels, if it is known and used.
        """

    def facts(self, layer: nn.Module, ranks: Ranks) -> dict[str, Any]:
        """Further figures about a factorization of these ranks."""
        return {}

    def replacements(
        self, model: nn.Module, names: Sequence[str], options: Any, site: Site
    ) -> dict[str, tuple[nn.Sequential, dict[str, Any]]]:
        """Chooses the ranks of all layers, then builds their factors."""
        moments = {name: self._moment(model, name, options, site) for name in names}
        if options.rank is not None:
            chosen = {name: self._given(name, model, options) for name in names}
        elif options.choose == "sensitivity":
            chosen = self._by_sensitivity(model, names, options, site, moments)
        else:
            chosen = {name: self._by_spectrum(model.get_submodule(name), options) for name in names}
        result = {}
        for name, ranks in chosen.items():
            layer = model.get_submodule(name)
            new = self.build(layer, ranks, moments[name])
            full = self.full_ranks(layer)
            facts = {"rank": list(ranks), "full_rank": list(full), **self.facts(layer, ranks)}
            result[name] = (new, facts)
        return result

    def _moment(
        self, model: nn.Module, name: str, options: RankOptions, site: Site
    ) -> FloatArray | None:
        if not (self.uses_moment and options.refit and site.inputs is not None):
            return None
        weight = model.get_submodule(name).weight
        if not isinstance(weight, torch.Tensor) or weight.shape[1] > _MOST_INPUTS:
            return None
        moment = observe.second_moment(model, name, site.inputs)
        array = moment.cpu().double().numpy()
        # Directions that the samples never reach must not be lost altogether.
        floor = np.eye(len(array)) * np.trace(array) / len(array) * 1e-4
        return np.asarray(array + floor, np.float64)

    def _given(self, name: str, model: nn.Module, options: RankOptions) -> Ranks:
        full = self.full_ranks(model.get_submodule(name))
        tables = [options.rank, options.rank_in or options.rank]
        ranks = []
        for table, most in zip(tables, full, strict=False):
            assert isinstance(table, PerLayer)
            number = table.value(name)
            rank = max(round(number * most), 1) if number < 1 else round(number)
            if rank > most:
                raise OptionError(
                    "The rank is larger than the layer",
                    where=name,
                    found=str(rank),
                    expected=f"1 to {most}, or a part of it below 1",
                )
            ranks.append(rank)
        return tuple(ranks)

    def _by_spectrum(self, layer: nn.Module, options: RankOptions) -> Ranks:
        ranks = []
        for matrix in self.matrices(layer):
            if options.choose == "evbmf":
                ranks.append(max(evbmf_rank(matrix), 1))
            else:
                ranks.append(energy_rank(_spectrum(matrix), options.energy))
        return tuple(ranks)

    def _by_sensitivity(
        self,
        model: nn.Module,
        names: Sequence[str],
        options: RankOptions,
        site: Site,
        moments: dict[str, FloatArray | None],
    ) -> dict[str, Ranks]:
        """Ranks whose errors, each measured alone at the model's output, add up to least."""
        layers = {name: model.get_submodule(name) for name in names}
        wholes = {name: site.cost(name, layer).multiplies for name, layer in layers.items()}
        tables: list[list[Candidate]] = []
        ranks: list[list[Ranks | None]] = []
        for name, layer in layers.items():
            full = self.full_ranks(layer)
            tried = dict.fromkeys(
                tuple(max(round(part * most), 1) for most in full) for part in FRACTIONS
            )
            options_of_layer = [Candidate(cost=wholes[name], error=0.0)]
            ranks_of_layer: list[Ranks | None] = [None]
            for candidate in tried:
                new = self.build(layer, candidate, moments[name])
                cost = site.cost(name, new).multiplies
                if cost < wholes[name]:
                    error = self._damage(model, name, new, site, layer)
                    options_of_layer.append(Candidate(cost=cost, error=error))
                    ranks_of_layer.append(candidate)
            tables.append(options_of_layer)
            ranks.append(ranks_of_layer)
        picked = allocate(tables, options.budget * sum(wholes.values()))
        return {
            name: chosen
            for name, row, index in zip(names, ranks, picked, strict=True)
            if (chosen := row[index]) is not None
        }

    def _damage(
        self, model: nn.Module, name: str, new: nn.Sequential, site: Site, layer: nn.Module
    ) -> float:
        """Change of the model's output with one layer replaced; of the layer's own without data."""
        if site.inputs is None:
            lost = [
                1 - float((s[: part.shape[0]] ** 2).sum() / max((s**2).sum(), 1e-30))
                for part, s in zip(
                    _inner_weights(new), map(_spectrum, self.matrices(layer)), strict=False
                )
            ]
            return sum(lost)
        inputs = [tensor[:_JUDGED] for tensor in site.inputs]
        before = _outputs(site.original, inputs)
        replace_module(model, name, new)
        after = _outputs(model, inputs)
        replace_module(model, name, layer)
        return _difference(before, after)


def _difference(before: Tensor, after: Tensor) -> float:
    """How far outputs have moved: their divergence if they are probabilities, else squared."""
    if are_probabilities(before):
        ratio = before.clamp(min=_LEAST).log() - after.clamp(min=_LEAST).log()
        return float((before * ratio).sum(-1).mean())
    return float((after - before).pow(2).mean() / before.pow(2).mean().clamp(min=1e-30))


def _spectrum(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.svd(matrix, compute_uv=False), np.float64)


def _inner_weights(new: nn.Sequential) -> list[Tensor]:
    """Weights of the factors, narrowest first; their rows count the components kept."""
    weights = [part.weight for part in new if isinstance(part, nn.Conv2d | nn.Linear)]
    return sorted(weights[:-1], key=len)


def _outputs(model: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    return torch.cat([first_output(result) for result in observe.run_model(model, inputs)])
