"""Factors against what is known of them: exact at full rank, optimal below, geometry kept."""

import numpy as np
import pytest
import torch
from torch import nn

from edgefactor.pipeline.compress.cp import Canonical, canonical
from edgefactor.pipeline.compress.depthwise import separate_channels
from edgefactor.pipeline.compress.grouped import diagonal_blocks
from edgefactor.pipeline.compress.spatial import (
    Spatial,
    joint_matrix,
    separate_jointly,
    separate_kernels,
)
from edgefactor.pipeline.compress.svd import Svd, reduced_rank, truncated_svd
from edgefactor.pipeline.compress.tucker import Tucker, tucker2

GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.standard_normal((12, 8, 3, 3))


def lost(found, wanted) -> float:
    return float(((found - wanted) ** 2).sum() / (wanted**2).sum())


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_svd_loses_exactly_the_tail(rank):
    matrix = GENERATOR.standard_normal((9, 7))
    left, right = truncated_svd(matrix, rank)
    values = np.linalg.svd(matrix, compute_uv=False)
    error = ((matrix - left @ right) ** 2).sum()
    np.testing.assert_allclose(error, (values[rank:] ** 2).sum(), atol=1e-12)
    # The size is shared, so that neither factor is large.
    np.testing.assert_allclose(np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_reduced_rank_beats_svd_on_the_outputs_and_svd_on_the_weights(rank):
    mixing = GENERATOR.standard_normal((7, 7)) * np.geomspace(5, 0.05, 7)
    x = GENERATOR.standard_normal((4000, 7)) @ mixing
    matrix = GENERATOR.standard_normal((9, 7))
    aware = np.matmul(*reduced_rank(matrix, x.T @ x / len(x), rank))
    plain = np.matmul(*truncated_svd(matrix, rank))
    output_errors = [lost(x @ found.T, x @ matrix.T) for found in (aware, plain)]
    assert output_errors[0] <= output_errors[1] + 1e-12
    assert lost(plain, matrix) <= lost(aware, matrix) + 1e-12
    # Optimal: no better than the tail of the outputs' own singular values allows.
    outputs = x @ matrix.T
    tail = (np.linalg.svd(outputs, compute_uv=False)[rank:] ** 2).sum() / (outputs**2).sum()
    np.testing.assert_allclose(output_errors[0], tail, atol=1e-9)


def test_reduced_rank_with_white_inputs_is_svd():
    matrix = GENERATOR.standard_normal((6, 5))
    aware, plain = reduced_rank(matrix, np.eye(5), 2), truncated_svd(matrix, 2)
    np.testing.assert_allclose(aware[0] @ aware[1], plain[0] @ plain[1], atol=1e-10)


def test_sobel_is_a_column_times_a_row():
    sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    columns, rows, residual = separate_kernels(sobel, 1)
    np.testing.assert_allclose(residual, 0, atol=1e-15)
    np.testing.assert_allclose(columns[0] / columns[0, 0], [1, 2, 1])
    np.testing.assert_allclose(rows[0] / rows[0, 2], [-1, 0, 1], atol=1e-12)


def test_not_every_kernel_has_rank_one():
    columns, rows, residual = separate_kernels(np.eye(3), 1)
    np.testing.assert_allclose(residual, 2 / 3)
    columns, rows, residual = separate_kernels(WEIGHTS, 3)
    np.testing.assert_allclose(np.einsum("oirh,oirw->oihw", columns, rows), WEIGHTS)
    np.testing.assert_allclose(residual, 0, atol=1e-15)


def test_what_a_kernel_loses_is_reported():
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        layer.weight[0, 0] = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        layer.weight[1, 0] = torch.eye(3)
    facts = Spatial().facts(layer, (1,))
    assert facts["worst_kernel"] == pytest.approx(2 / 3)
    assert facts["kernel_residual"] == pytest.approx(1 / 3)


def test_joint_split_is_the_best_of_its_rank():
    columns, rows = separate_jointly(WEIGHTS, 5)
    found = np.einsum("riha,oraw->oihw", columns, rows)
    values = np.linalg.svd(joint_matrix(WEIGHTS), compute_uv=False)
    np.testing.assert_allclose(
        lost(found, WEIGHTS), (values[5:] ** 2).sum() / (values**2).sum(), atol=1e-12
    )


def test_iteration_improves_on_the_higher_order_svd():
    def error(iterations):
        left, core, right = tucker2(WEIGHTS, 5, 4, iterations=iterations)
        np.testing.assert_allclose(left.T @ left, np.eye(5), atol=1e-9)
        return lost(np.einsum("op,pqhw,iq->oihw", left, core, right), WEIGHTS)

    assert error(50) <= error(0) + 1e-12


def test_cp_finds_a_planted_sum():
    planted = [GENERATOR.standard_normal((size, 3)) for size in WEIGHTS.shape]
    weights = np.einsum("or,ir,hr,wr->oihw", *planted)
    factors = canonical(weights, 3)
    assert lost(np.einsum("or,ir,hr,wr->oihw", *factors), weights) < 1e-5
    lengths = [np.linalg.norm(factor, axis=0) for factor in factors]
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], (4, 3)))


def test_cp_has_no_large_products_that_cancel():
    weights = GENERATOR.standard_normal((16, 8, 3, 3))
    factors = canonical(weights, 40)
    sizes = np.prod([np.linalg.norm(factor, axis=0) for factor in factors], axis=0)
    assert lost(np.einsum("or,ir,hr,wr->oihw", *factors), weights) < 0.02
    assert (sizes**2).sum() < 3 * (weights**2).sum()


def test_depthwise_separable_is_the_best_per_channel():
    windows, mixing, error = separate_channels(WEIGHTS, 1)
    found = mixing[:, :, 0, 0, None, None] * windows[None, :, 0]
    np.testing.assert_allclose(lost(found, WEIGHTS), error)
    tail = sum(
        (np.linalg.svd(WEIGHTS[:, i].reshape(12, 9), compute_uv=False)[1:] ** 2).sum()
        for i in range(8)
    )
    np.testing.assert_allclose(error, tail / (WEIGHTS**2).sum())
    assert separate_channels(WEIGHTS, 9)[2] < 1e-12


def test_groups_keep_the_blocks_of_the_diagonal():
    kept, error = diagonal_blocks(WEIGHTS, 4)
    np.testing.assert_array_equal(kept[3:6], WEIGHTS[3:6, 2:4])
    np.testing.assert_allclose(error, 1 - (kept**2).sum() / (WEIGHTS**2).sum())


#: Method, layer, input shape.
LAYERS = {
    "svd dense": (Svd(), nn.Linear(12, 7), (5, 12)),
    "svd dense without bias": (Svd(), nn.Linear(6, 9, bias=False), (2, 3, 6)),
    "svd 1x1": (Svd(), nn.Conv2d(6, 9, 1, stride=2), (2, 6, 7, 9)),
    "tucker": (Tucker(), nn.Conv2d(6, 9, 3, stride=2, padding=1), (2, 6, 9, 8)),
    "tucker same": (Tucker(), nn.Conv2d(4, 5, 3, padding="same", dilation=2), (2, 4, 9, 8)),
    "cp": (Canonical(), nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 9, 8)),
    "spatial": (Spatial(), nn.Conv2d(6, 5, 3, stride=2, padding=1), (2, 6, 9, 8)),
    "spatial 5x3": (Spatial(), nn.Conv2d(3, 5, (5, 3), padding=(2, 0)), (2, 3, 9, 8)),
    "spatial depthwise": (
        Spatial(), nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6), (2, 6, 9, 8)
    ),
    "spatial depthwise, two outputs": (
        Spatial(), nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 9, 8)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())
def test_at_full_rank_nothing_changes(case):
    method, layer, shape = case
    torch.manual_seed(1)
    assert method.fits(layer) == ""
    factors = method.build(layer, method.full_ranks(layer), None)
    x = torch.randn(shape)
    tolerance = 2e-3 if isinstance(method, Canonical) else 1e-5
    torch.testing.assert_close(factors(x), layer(x), rtol=tolerance, atol=tolerance)


#: Method, layer, words of the reason.
UNFIT = {
    "svd of a window": (Svd(), nn.Conv2d(3, 4, 3), "1x1"),
    "tucker of 1x1": (Tucker(), nn.Conv2d(3, 4, 1), "1x1"),
    "tucker of groups": (Tucker(), nn.Conv2d(4, 4, 3, groups=2), "2 groups"),
    "cp of dense": (Canonical(), nn.Linear(3, 4), "no convolution"),
    "spatial of a row": (Spatial(), nn.Conv2d(3, 4, (1, 5)), "1x5"),
}


@pytest.mark.parametrize(("method", "layer", "words"), UNFIT.values(), ids=UNFIT.keys())
def test_layers_that_a_method_has_nothing_to_do_with(method, layer, words):
    assert words in method.fits(layer)
