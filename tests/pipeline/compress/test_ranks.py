"""How many components stay: energy, EVBMF, and a budget spent where it helps most."""

import itertools

import numpy as np
import pytest

from edgefactor.errors import BudgetError
from edgefactor.pipeline.compress.ranks import Candidate, allocate, energy_rank, evbmf_rank

#: Singular values, share, rank.
ENERGIES = [
    ([3.0, 4.0][::-1], 0.64, 1),
    ([4.0, 3.0], 0.65, 2),
    ([1.0, 1.0, 1.0, 1.0], 0.5, 2),
    ([1.0, 1.0, 1.0, 1.0], 1.0, 4),
    ([5.0, 0.0, 0.0], 1.0, 1),
    ([0.0, 0.0], 0.9, 1),
]


@pytest.mark.parametrize(("values", "share", "rank"), ENERGIES)
def test_energy(values, share, rank):
    assert energy_rank(np.array(values), share) == rank


#: Rows, columns, rank, signal over noise of each component's entries.
PLANTED = [(60, 80, 5, 1.0), (80, 60, 5, 1.0), (64, 576, 10, 0.5), (128, 128, 1, 0.5),
           (32, 288, 12, 1.0), (200, 40, 3, 1.0)]  # fmt: skip


@pytest.mark.parametrize(("rows", "columns", "rank", "size"), PLANTED)
@pytest.mark.parametrize("seed", range(3))
def test_evbmf_finds_a_planted_rank_under_noise(rows, columns, rank, size, seed):
    generator = np.random.default_rng(seed)
    left = generator.standard_normal((rows, rank))
    right = generator.standard_normal((rank, columns))
    noise = generator.standard_normal((rows, columns))
    matrix = size * left @ right + noise
    assert evbmf_rank(matrix) == rank
    assert evbmf_rank(matrix, noise_variance=1.0) == rank
    # The rank does not depend on units.
    assert evbmf_rank(1e-3 * matrix) == rank


@pytest.mark.parametrize("seed", range(4))
def test_evbmf_finds_nothing_in_noise(seed):
    generator = np.random.default_rng(seed)
    assert evbmf_rank(generator.standard_normal((50, 200)), noise_variance=1.0) == 0
    assert evbmf_rank(generator.standard_normal((50, 200))) <= 1


def test_evbmf_threshold_is_the_theorems():
    """For known noise: sqrt(M s^2 (1 + t)(1 + alpha / t)), t near 2.5129 sqrt(alpha)."""
    alpha, columns = 0.25, 400
    rows = int(alpha * columns)
    tau = 2.5129 * np.sqrt(alpha)
    threshold = np.sqrt(columns * (1 + tau) * (1 + alpha / tau))
    for factor, expected in ((0.99, 0), (1.01, 1)):
        matrix = np.zeros((rows, columns))
        matrix[0, 0] = threshold * factor
        assert evbmf_rank(matrix, noise_variance=1.0) == expected


def test_evbmf_of_zeros():
    assert evbmf_rank(np.zeros((4, 6))) == 0


def brute_force(layers, budget):
    choices = itertools.product(*(range(len(options)) for options in layers))
    fitting = [
        choice
        for choice in choices
        if sum(o[i].cost for o, i in zip(layers, choice, strict=True)) <= budget
    ]
    return min(sum(o[i].error for o, i in zip(layers, c, strict=True)) for c in fitting)


@pytest.mark.parametrize("seed", range(12))
def test_allocation_fits_and_is_near_the_best(seed):
    generator = np.random.default_rng(seed)
    layers = []
    for _ in range(4):
        costs = np.sort(generator.uniform(1, 10, 5))
        layers.append([Candidate(cost=c, error=float(8 / c)) for c in costs])
    cheapest = sum(options[0].cost for options in layers)
    for budget in (cheapest, cheapest * 1.5, cheapest * 3):
        chosen = allocate(layers, budget)
        cost = sum(o[i].cost for o, i in zip(layers, chosen, strict=True))
        error = sum(o[i].error for o, i in zip(layers, chosen, strict=True))
        assert cost <= budget
        assert error <= 1.1 * brute_force(layers, budget)


def test_allocation_takes_everything_when_it_can():
    layers = [[Candidate(cost=2, error=0), Candidate(cost=1, error=1)]] * 3
    assert allocate(layers, 6) == (0, 0, 0)
    assert allocate(layers, 3) == (1, 1, 1)


def test_a_budget_below_the_cheapest_is_refused_with_the_figures():
    with pytest.raises(BudgetError) as caught:
        allocate([[Candidate(cost=5, error=0)]], 4)
    assert (caught.value.found, caught.value.expected) == ("5", "at most 4")
