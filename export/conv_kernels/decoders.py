"""The decoders of single codes: what is linked, what their tables take and what they cost.

Other decoders are described beside the kernels that need them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgefactor.export.encodings.codebook import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A decoder of ef_weights.h; the empty one reads the data as it is.

    Attributes:
        symbol: In C.
        sources: Files.
        code_bytes: Flash.
        lut_bytes: Of the table that it fills in scratch.
        lut_instructions: For filling it, once a call.
    """

    symbol: str = ""
    sources: tuple[str, ...] = ()
    code_bytes: int = 0
    lut_bytes: int = 0
    lut_instructions: float = 0.0


NO_DECODER = Decoder()


def _decoder(
    name: str, code_bytes: int, lut_bytes: int = 0, lut_instructions: float = 0.0, header: str = ""
) -> Decoder:
    return Decoder(
        symbol=name,
        sources=(*([header] if header else []), f"{name}.c"),
        code_bytes=code_bytes,
        lut_bytes=lut_bytes,
        lut_instructions=lut_instructions,
    )


BYTES = _decoder("ef_decoder_bytes", 120)
BYTES_1BIT = _decoder("ef_decoder_bytes_1bit", 200, 64, 300.0)
BYTES_2BIT = _decoder("ef_decoder_bytes_2bit", 144, 1024, 2200.0)
BYTES_4BIT = _decoder("ef_decoder_bytes_4bit", 96, 512, 2000.0)
BYTE_DECODE = {1: 1.6, 2: 1.6, 3: 12.0, 4: 3.0, 5: 12.0, 6: 12.0}
"""Instructions a weight, by bits, on M0+."""

O8 = _decoder("ef_decoder_o8", 120)
O8_1BIT = _decoder("ef_decoder_o8_1bit", 196, 64, 150.0)
O8_2BIT = _decoder("ef_decoder_o8_2bit", 136, 1024, 1200.0)
O8_3BIT = _decoder("ef_decoder_o8_3bit", 212, 128, 600.0)
O8_4BIT = _decoder("ef_decoder_o8_4bit", 128, 512, 1200.0)
O8_DECODE = {1: 1.0, 2: 0.7, 3: 1.95, 4: 1.6, 5: 11.8, 6: 11.8}

BYTES_1BIT_MVE = _decoder("ef_decoder_bytes_1bit_mve", 116, header="ef_mve.h")
BYTES_2BIT_MVE = _decoder("ef_decoder_bytes_2bit_mve", 88, header="ef_mve.h")
BYTES_4BIT_MVE = _decoder("ef_decoder_bytes_4bit_mve", 64, header="ef_mve.h")
MVE_DECODE = {1: 0.45, 2: 0.6, 3: 16.0, 4: 0.45, 5: 16.0, 6: 16.0}


def byte_decoder(encoding: Encoding) -> Decoder:
    """What writes one byte a code in plain C, for blocks of 4 channels."""
    if encoding.bits == 8:
        return NO_DECODER
    return {1: BYTES_1BIT, 2: BYTES_2BIT, 4: BYTES_4BIT}.get(encoding.bits, BYTES)


def o8_decoder(encoding: Encoding) -> Decoder:
    """What writes o8 words."""
    if encoding.bits == 8:
        return NO_DECODER
    return {1: O8_1BIT, 2: O8_2BIT, 3: O8_3BIT, 4: O8_4BIT}.get(encoding.bits, O8)


def mve_decoder(encoding: Encoding) -> Decoder:
    """What writes one byte a code with MVE."""
    if encoding.bits == 8:
        return NO_DECODER
    return {1: BYTES_1BIT_MVE, 2: BYTES_2BIT_MVE, 4: BYTES_4BIT_MVE}.get(encoding.bits, BYTES)
