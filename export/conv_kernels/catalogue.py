"""All convolution kernels that a layer may get."""

from __future__ import annotations

from edgefactor.export.conv_kernels.digits import (
    CONV_DIGITS_2BIT_DSP,
    CONV_DIGITS_DSP,
    DENSE_DIGITS_2BIT_DSP,
    DENSE_DIGITS_DSP,
    ROWS_DIGITS_2BIT_DSP,
    ROWS_DIGITS_DSP,
)
from edgefactor.export.conv_kernels.dsp import (
    CONV_DSP,
    DENSE_DSP,
    DENSE_PAIRS_DSP,
    ROWS_DSP,
)
from edgefactor.export.conv_kernels.dsp_depthwise import (
    DEPTHWISE_DILATED_DSP,
    DEPTHWISE_DSP,
    DEPTHWISE_WINDOWS_DSP,
)
from edgefactor.export.conv_kernels.encoded import (
    CONV_VECTORS,
    CONV_VECTORS_DSP,
    CONV_VECTORS_MVE,
    DENSE_VECTORS_DSP,
    DENSE_VECTORS_TILE_DSP,
    ROWS_VECTORS_DSP,
    SPARSE,
    SPARSE_PAIRS,
)
from edgefactor.export.conv_kernels.huffman import HUFFMAN_VARIANTS
from edgefactor.export.conv_kernels.mve import (
    CONV_MVE,
    DENSE_2BIT_MVE,
    DENSE_4BIT_MVE,
    DEPTHWISE_MVE,
)
from edgefactor.export.conv_kernels.portable import (
    CONV,
    DEPTHWISE,
    DEPTHWISE_DILATED,
    DEPTHWISE_WINDOWS,
    REFERENCE,
)
from edgefactor.export.conv_kernels.swar import CONV_SWAR, DENSE_SUMS, DENSE_SWAR, DEPTHWISE_SWAR
from edgefactor.export.conv_kernels.variants import Variant

VARIANTS: tuple[Variant, ...] = (
    CONV,
    CONV_VECTORS,
    SPARSE,
    SPARSE_PAIRS,
    DEPTHWISE,
    DEPTHWISE_WINDOWS,
    DEPTHWISE_DILATED,
    CONV_DSP,
    ROWS_DSP,
    DENSE_DSP,
    DENSE_PAIRS_DSP,
    DENSE_DIGITS_2BIT_DSP,
    DENSE_DIGITS_DSP,
    CONV_DIGITS_DSP,
    ROWS_DIGITS_DSP,
    CONV_DIGITS_2BIT_DSP,
    ROWS_DIGITS_2BIT_DSP,
    DENSE_VECTORS_DSP,
    CONV_VECTORS_DSP,
    ROWS_VECTORS_DSP,
    DENSE_VECTORS_TILE_DSP,
    CONV_VECTORS_MVE,
    DEPTHWISE_DSP,
    DEPTHWISE_WINDOWS_DSP,
    DEPTHWISE_DILATED_DSP,
    CONV_MVE,
    DENSE_4BIT_MVE,
    DENSE_2BIT_MVE,
    DEPTHWISE_MVE,
    CONV_SWAR,
    DENSE_SWAR,
    DENSE_SUMS,
    DEPTHWISE_SWAR,
    *HUFFMAN_VARIANTS,
)
"""What a layer may get."""
ALL_VARIANTS = (*VARIANTS, REFERENCE)
"""What may be asked for by name."""
