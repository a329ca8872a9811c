"""Deep k-Means: retrain towards clusters of kernel rows, then share the rows.

Wu et al. 2018 (arXiv 1806.09228). The penalty is lambda/2 (Tr W'W - Tr F'W'WF), whose gradient is
lambda (W - W F F'); W has a kernel row in each column and F'F = I. The paper takes the k leading
eigenvectors of W'W for F. Rows of a 3 x 3 kernel have three numbers, so W'W has rank 3 and for
k >= 3 that relaxed penalty is zero; then only the discrete F, the normalised membership of the
clusters, pulls at all: the penalty is half lambda times the k-means error. Both are here;
"clusters" is the default, and "spectral" says so where it has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from edgefactor.pipeline.compress.context import Context, TrainingOptions
from edgefactor.pipeline.compress.method import (
    Method,
    Need,
    Options,
    PerLayer,
    StepResult,
    check_range,
)
from edgefactor.pipeline.compress.mirroring import mirror_negative_channels
from edgefactor.pipeline.compress.share_vectors import (
    ShareVectorsOptions,
    group_size,
    share_layer,
)
from edgefactor.pipeline.compress.shared_weight import to_groups, unparametrize, weight_of
from edgefactor.pipeline.compress.vector_kmeans import cluster_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepKMeansOptions(Options):
    """Options of ``deep-k-means``.

    Attributes:
        values: Vectors a layer, one number or by layer; 0 for 256, or a quarter of the rows.
        strength: Lambda of the penalty; 0 shares without it (the paper's "WR").
        penalty: "clusters" or "spectral", see the module.
        renew: Steps between two computations of F.
        layout: What a row of W is: a row of a kernel ("rows", the paper's), or `d` weights along
            the input channels ("channels"), which the device stores as vectors.
        d: Weights a vector with "channels", and in dense and 1x1 layers, which have no kernel rows
            to speak of.
        retraining: With the penalty.
        training: Of the shared vectors after it; none by default.
    """

    values: PerLayer = field(default_factory=lambda: PerLayer.of(0))
    strength: float = 1e-3
    penalty: Literal["clusters", "spectral"] = "clusters"
    renew: int = 100
    layout: Literal["rows", "channels"] = "rows"
    d: int = 4
    retraining: TrainingOptions = field(default_factory=lambda: TrainingOptions(epochs=2))
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        check_range("strength", self.strength, 0, 1e6)
        check_range("renew", self.renew, 1, 1 << 30)
        check_range("d", self.d, 1, 64)
        # The same checks as those of the vectors that it ends in.
        ShareVectorsOptions(values=self.values)


class Projection(nn.Module):
    """W F F' of one layer, as what its rows are drawn to.

    Args:
        layer: A convolution or dense layer.
        d: Weights a row.
        k: Clusters.
        kind: "clusters" or "spectral".
        seed: Of k-means++.
        channels_last: Whether rows lie along input channels.
    """

    basis: Tensor
    index: Tensor

    def __init__(
        self,
        layer: nn.Module,
        d: int,
        k: int,
        kind: str,
        seed: int,
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.d, self.k, self.kind, self.seed = d, k, kind, seed
        self.channels_last = channels_last
        self._layer = [layer]  # in a list: not a module of this one, its weights are the model's
        rows = self.rows().detach()
        self.register_buffer("basis", torch.zeros(min(k, d), d).to(rows))
        self.register_buffer("index", torch.zeros(len(rows), dtype=torch.int64).to(rows.device))
        self._renew(None)

    def rows(self) -> Tensor:
        """``[N, d]``: W transposed."""
        weight = self._layer[0].weight
        assert isinstance(weight, Tensor)
        return to_groups(weight, self.d, channels_last=self.channels_last)

    @torch.no_grad()
    def centroids(self) -> Tensor:
        """``[K, d]`` means of the clusters that F stands for, with the present weights."""
        return self._sums() / self._members()[:, None]

    def renew(self) -> None:
        """Computes F for the present weights; clusters go on from where they were.

        Other clusters each time, from a new start, would draw the weights back and forth.
        """
        self._renew(self.centroids() if self.kind == "clusters" else None)

    @torch.no_grad()
    def _renew(self, start: Tensor | None) -> None:
        rows = self.rows().detach()
        if self.kind == "spectral":
            # The leading right singular vectors span the same projection: W F F' = U U' W.
            _, _, right = torch.linalg.svd(rows, full_matrices=False)
            self.basis.copy_(right[: len(self.basis)])
            return
        points = rows.cpu().double().numpy()
        centroids = None if start is None else start.cpu().double().numpy()
        found = cluster_vectors(points, self.k, start=centroids, seed=self.seed)
        self.index.copy_(torch.from_numpy(found.index))

    def penalty(self) -> Tensor:
        """``1/2 (Tr W'W - Tr F'W'WF)``: half the squared distance of W from W F F'."""
        rows = self.rows()
        if self.kind == "spectral":
            return 0.5 * (rows.square().sum() - (rows @ self.basis.T).square().sum())
        drawn = self._sums().square().sum(1) / self._members()
        return 0.5 * (rows.square().sum() - drawn.sum())

    def _sums(self) -> Tensor:
        rows = self.rows()
        return torch.zeros(self.k, self.d, device=rows.device).index_add_(0, self.index, rows)

    def _members(self) -> Tensor:
        return torch.bincount(self.index, minlength=self.k).clamp_min(1)


class DeepKMeans(Method):
    """Retrains towards clustered rows, then shares them."""

    name: ClassVar[str] = "deep-k-means"
    summary: ClassVar[str] = "retrain with a k-means penalty, then share kernel rows"
    options: ClassVar[type[Options]] = DeepKMeansOptions

    def needs(self, options: DeepKMeansOptions) -> Need:
        """What its trainings need."""
        needs = {options.retraining.need, options.training.need}
        return next((n for n in (Need.LABELS, Need.DATA) if n in needs), Need.NOTHING)

    def apply(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        options: DeepKMeansOptions,
        context: Context,
    ) -> StepResult:
        """Retrains with the penalty (unless strength is 0), shares rows, trains them."""
        final = ShareVectorsOptions(values=options.values, layout=options.layout, d=options.d)
        last = options.layout == "channels"
        chosen: list[tuple[str, nn.Module, int]] = []
        notes = []
        for name in layer_names:
            layer = model.get_submodule(name)
            is_window = isinstance(layer, nn.Conv2d) and layer.kernel_size[1] > 1
            d = group_size(layer, options.d, options.layout if is_window else "channels")
            if weight_of(layer)[0].numel() % d:
                notes.append(f"{name} was left: {d} does not divide its weights")
                continue
            unparametrize(layer)
            chosen.append((name, layer, d))
        projections = nn.ModuleList()
        for number, (name, layer, d) in enumerate(chosen):
            rows = weight_of(layer).numel() // d
            k = int(options.values.value(name)) or max(1, min(256, rows // 4))
            seed = context.seed * 1_009 + number
            projections.append(
                Projection(layer, d, min(k, rows), options.penalty, seed, channels_last=last)
            )
            if options.penalty == "spectral" and k >= d:
                notes.append(f"{name}: the spectral penalty is zero for K = {k} and rows of {d}")
        parts = [part for part in projections if isinstance(part, Projection)]

        def penalty() -> Tensor:
            return options.strength * torch.stack([part.penalty() for part in parts]).sum()

        def after_step(done: int, steps: int) -> None:
            if done % options.renew == 0:
                for part in parts:
                    part.renew()

        context.trainer.fit(
            model,
            options.retraining,
            context,
            label=f"{self.name}, retraining",
            penalty=penalty if options.strength > 0 else None,
            after_step=after_step if options.strength > 0 else None,
            extra=projections,
        )
        mirror_negative_channels(model)
        retrained = context.accuracy(model)
        layers: dict[str, dict[str, Any]] = {}
        for number, ((name, layer, d), part) in enumerate(zip(chosen, parts, strict=True)):
            trained = options.strength > 0 and options.penalty == "clusters"
            layers[name] = share_layer(
                layer,
                name,
                d,
                final,
                None,
                seed=context.seed * 1_009 + number,
                start=part.centroids().cpu().double().numpy() if trained else None,
            )
        shared = context.accuracy(model)
        context.trainer.fit(model, options.training, context, label=self.name)
        figures = {"accuracy_retrained": retrained, "accuracy_shared": shared}
        return StepResult(layers=layers, figures=figures, notes=tuple(notes))
