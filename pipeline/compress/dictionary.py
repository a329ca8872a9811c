"""Sparse dictionaries: the rows of a matrix as sums of few atoms, W ~ U V with a sparse U.

Sparse dictionary learning takes turns: a code for every row by orthogonal matching pursuit
(scikit-learn's), then the best atoms for the codes by least squares (the method of optimal
directions, Engan et al. 1999), rescaled to length 1. The layer becomes V, then the sparse U.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgefactor.pipeline.compress.conv_parts import as_tensor, check_rank, conv_part
from edgefactor.pipeline.compress.factorization import Factorization, FactorOptions, Site
from edgefactor.pipeline.compress.method import check_range
from edgefactor.pipeline.compress.shared_weight import MaskedWeight, weight_of
from edgefactor.pipeline.compress.svd import Svd, matrix_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """``matrix ~ codes @ atoms``.

    Attributes:
        codes: U, [rows, atoms], few nonzeros in each row.
        atoms: V, [atoms, columns], rows of length 1.
        error: ``|matrix - U V|^2 / |matrix|^2``.
    """

    codes: FloatArray
    atoms: FloatArray
    error: float


def learn_dictionary(
    matrix: FloatArray, atoms: int, nonzeros: int, *, iterations: int = 30, seed: int = 0
) -> Dictionary:
    """Learns atoms and codes.

    Args:
        matrix: One sample a row.
        atoms: Rows of the dictionary.
        nonzeros: Largest number of atoms in a sum.
        iterations: Turns; the best result of all is returned.
        seed: Of the rows that the atoms start from.
    """
    generator = np.random.default_rng(seed)
    size = max(float((matrix**2).sum()), 1e-30)
    # Principal directions first: where as many atoms as the rank are allowed, nothing is lost.
    principal = np.linalg.svd(matrix, full_matrices=False)[2][:atoms]
    rows = matrix[generator.permutation(len(matrix))]
    extra = np.resize(rows, (atoms - len(principal), matrix.shape[1]))
    basis = _unit(np.concatenate([principal, extra]) if len(extra) else principal, generator)
    best: Dictionary | None = None
    for _ in range(iterations):
        codes = _pursue(matrix, basis, nonzeros)
        error = float(((matrix - codes @ basis) ** 2).sum()) / size
        if best is None or error < best.error:
            best = Dictionary(codes=codes, atoms=basis, error=error)
        better = np.linalg.lstsq(codes, matrix, rcond=None)[0]
        basis = _unit(np.asarray(better, np.float64), generator)
    assert best is not None
    return best


def _pursue(matrix: FloatArray, basis: FloatArray, nonzeros: int) -> FloatArray:
    """Codes of all rows by orthogonal matching pursuit, [rows, atoms]."""
    from sklearn.linear_model import orthogonal_mp_gram

    # A row that fewer atoms give exactly ends early, which is no reason for a warning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        codes = orthogonal_mp_gram(
            basis @ basis.T + 1e-10 * np.eye(len(basis)), basis @ matrix.T, n_nonzero_coefs=nonzeros
        )
    return np.asarray(codes, np.float64).reshape(len(basis), -1).T


def _unit(rows: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Rows of length 1; one that nothing uses starts again at random."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unused = lengths[:, 0] < 1e-12
    rows[unused] = generator.standard_normal((int(unused.sum()), rows.shape[1]))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DictionaryOptions(FactorOptions):
    """Options of the dictionaries.

    Attributes:
        atoms: Rows of V; below 1: part of the outputs.
        nonzeros: Atoms in the sum for one output.
        iterations: Turns of learning.
    """

    atoms: float = 0.5
    nonzeros: int = 4
    iterations: int = 30

    def __post_init__(self) -> None:
        FactorOptions.__post_init__(self)
        check_range("atoms", self.atoms, 0, 1 << 30, open_low=True)
        check_range("nonzeros", self.nonzeros, 1, 1 << 30)
        check_range("iterations", self.iterations, 1, 1 << 20)


class SparseDictionary(Factorization):
    """V, then the sparse U."""

    name = "dictionary"
    summary = "a small dictionary and sparse codes in place of a dense or 1x1 layer"
    options = DictionaryOptions
    refits = False  # a fit would fill the zeros

    def fits(self, layer: nn.Module, options: Any = None) -> str:
        return Svd().fits(layer)

    def replacements(
        self, model: nn.Module, names: Sequence[str], options: Any, site: Site
    ) -> dict[str, tuple[nn.Sequential, dict[str, Any]]]:
        result = {}
        for name in names:
            layer = model.get_submodule(name)
            matrix = matrix_of(layer)
            outputs = len(matrix)
            atoms = round(options.atoms * outputs) if options.atoms < 1 else round(options.atoms)
            check_rank(atoms, outputs, f"{name}, atoms")
            check_rank(options.nonzeros, atoms, f"{name}, nonzeros")
            learned = learn_dictionary(
                matrix, atoms, options.nonzeros, iterations=options.iterations
            )
            facts = {
                "atoms": atoms,
                "nonzeros": int(np.count_nonzero(learned.codes)),
                "weight_error": learned.error,
            }
            result[name] = (_layers(layer, learned), facts)
        return result

    def finish(self, new: nn.Sequential) -> None:
        """Holds the zeros of U at 0 while the model trains on."""
        codes = new[1]
        mask = weight_of(codes) != 0
        parametrize.register_parametrization(codes, "weight", MaskedWeight(mask))


def _layers(layer: nn.Module, learned: Dictionary) -> nn.Sequential:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    first: nn.Module
    second: nn.Module
    if isinstance(layer, nn.Conv2d):
        first = conv_part(layer, learned.atoms[:, :, None, None], rows=True, columns=True)
        second = conv_part(layer, learned.codes[:, :, None, None], bias=bias)
    else:
        atoms, inputs = learned.atoms.shape
        first = nn.Linear(inputs, atoms, bias=False).to(weight.device)
        second = nn.Linear(atoms, len(learned.codes), bias=bias is not None).to(weight.device)
        with torch.no_grad():
            first.weight.copy_(as_tensor(learned.atoms, weight))
            second.weight.copy_(as_tensor(learned.codes, weight))
            if bias is not None:
                second.bias.copy_(bias)
    return nn.Sequential(first, second)
