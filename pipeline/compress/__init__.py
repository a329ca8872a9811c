"""Makes a model small: factorize, prune, share, quantize, fine-tune; one file a method.

`METHODS` is the list of what a recipe can name.
"""

from __future__ import annotations

from edgefactor.pipeline.compress import (
    channel_pruning,
    cp,
    deep_k_means,
    depthwise,
    dictionary,
    fine_tune,
    grouped,
    pruning,
    quantizing,
    share,
    share_vectors,
    shift,
    soft_sharing,
    spatial,
    svd,
    tucker,
)
from edgefactor.pipeline.compress.method import Method

METHODS: tuple[Method, ...] = (
    svd.Svd(),
    tucker.Tucker(),
    cp.Canonical(),
    spatial.Spatial(),
    depthwise.Depthwise(),
    grouped.Grouped(),
    shift.ShiftConv(),
    dictionary.SparseDictionary(),
    pruning.Prune(),
    channel_pruning.PruneChannels(),
    share.Share(),
    share_vectors.ShareVectors(),
    deep_k_means.DeepKMeans(),
    soft_sharing.SoftSharing(),
    quantizing.Uniform(),
    quantizing.Ternary(),
    quantizing.Binary(),
    fine_tune.FineTune(),
    fine_tune.Huffman(),
)
BY_NAME: dict[str, Method] = {method.name: method for method in METHODS}
