"""The convolution kernels by tiles with weights in Huffman codes, decoded a tile at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.conv_kernels.decoders import Decoder
from edgefactor.export.conv_kernels.dsp import CONV_DSP, DENSE_DSP, ROWS_DSP
from edgefactor.export.conv_kernels.mve import CONV_MVE
from edgefactor.export.conv_kernels.packing import encoded_bytes
from edgefactor.export.conv_kernels.portable import CONV
from edgefactor.export.conv_kernels.swar import CONV_SWAR, DENSE_SWAR
from edgefactor.export.conv_kernels.variants import Variant
from edgefactor.export.encodings.codebook import Encoding, Int8Array

NAME = "huffman"
LUT_BYTES = 532
LUT_INSTRUCTIONS = 1500.0
_SOURCES = ("ef_huffman.h", "ef_huffman_prepare.c")
BYTES = Decoder(
    symbol="ef_decoder_huffman",
    sources=(*_SOURCES, "ef_decoder_huffman.c"),
    code_bytes=728,
    lut_bytes=LUT_BYTES,
    lut_instructions=LUT_INSTRUCTIONS,
)
O8 = replace(
    BYTES,
    symbol="ef_decoder_huffman_o8",
    sources=(*_SOURCES, "ef_decoder_huffman_o8.c"),
    code_bytes=636,
)


def _pack(order: Int8Array, encoding: Encoding) -> tuple[str, NDArray[np.integer]]:
    return "uint8_t", encoded_bytes(order.reshape(-1), encoding)


def _of_huffman(variant: Variant, decoder: Decoder, decode: float) -> Variant:
    """The same kernel with tiles that are decoded from Huffman codes.

    Args:
        variant: A kernel that has its decoder prepared and decodes one block after another.
        decoder: What writes the blocks.
        decode: Instructions a weight.
    """
    return replace(
        variant,
        why_not=lambda geometry, proof, encoding: (
            "a depthwise layer has few weights"
            if geometry.is_depthwise
            else variant.why_not(geometry, proof, encoding)
        ),
        pack=_pack,
        decoder=lambda encoding: decoder,
        model=replace(variant.model, decode=dict.fromkeys(range(1, 7), decode)),
        encodings=(NAME,),
    )


HUFFMAN_VARIANTS = (
    _of_huffman(CONV, BYTES, 14.0),
    _of_huffman(CONV_DSP, O8, 11.0),
    _of_huffman(ROWS_DSP, O8, 11.0),
    _of_huffman(DENSE_DSP, O8, 11.0),
    _of_huffman(CONV_MVE, BYTES, 11.0),
    _of_huffman(CONV_SWAR, BYTES, 14.0),
    _of_huffman(DENSE_SWAR, BYTES, 14.0),
)
