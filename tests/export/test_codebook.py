"""The weight format: its Python codec, and the same in C by every decoder."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import DataError, OptionError
from edgefactor.export.codebook import (
    PACKED4,
    RAW,
    Encoding,
    codebook_encoding,
    decode,
    encode,
    find_encodings,
    named_encoding,
)
from edgefactor.export.packing import o8_words, table_bytes
from tests.runtime.conv_library import Guarded, Weights, library

LUT_BYTES = 512


@st.composite
def coded_tensors(draw: st.DrawFn) -> tuple[np.ndarray, Encoding]:
    """Codes with few distinct values, and an encoding that holds them."""
    values = draw(st.lists(st.integers(-127, 127), min_size=1, max_size=64, unique=True))
    count = draw(st.integers(1, 100))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    codes = rng.choice(np.array(values, np.int8), count)
    return codes, draw(st.sampled_from(find_encodings(codes)))


class _Decoder(ctypes.Structure):
    _fields_ = [("prepare", ctypes.c_void_p), ("decode", ctypes.c_void_p)]


PREPARE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
DECODE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p
)


def decode_in_c(
    name: str, data: np.ndarray, encoding: Encoding, first: int, out_bytes: int, count: int
) -> np.ndarray:
    """What a decoder of ef_weights.h writes, with guards behind all arrays."""
    decoder = _Decoder.in_dll(library(), name)
    stored, table = Guarded.holding(data), Guarded.holding(table_bytes(encoding))
    weights = Weights(stored.address, table.address, None, encoding.bits)
    lut, out = Guarded(LUT_BYTES), Guarded(out_bytes, 1)
    if decoder.prepare:
        PREPARE(decoder.prepare)(ctypes.addressof(weights), lut.address)
    DECODE(decoder.decode)(ctypes.addressof(weights), lut.address, first, count, out.address)
    return out.bytes.copy()


@settings(deadline=None, derandomize=True)
@given(coded_tensors())
def test_decode_inverts_encode(tensor: tuple[np.ndarray, Encoding]) -> None:
    codes, encoding = tensor
    data = encode(codes, encoding)
    assert len(data) == encoding.data_bytes(len(codes))
    np.testing.assert_array_equal(decode(data, encoding, len(codes)), codes)


@settings(deadline=None, derandomize=True)
@given(coded_tensors(), st.data())
def test_byte_decoders_equal_python(
    tensor: tuple[np.ndarray, Encoding], data: st.DataObject
) -> None:
    codes, encoding = tensor
    if encoding.bits == 8:
        return
    stored = encode(codes, encoding)
    first = data.draw(st.integers(0, len(codes)))
    count = data.draw(st.integers(0, len(codes) - first))
    found = decode_in_c("ef_decoder_bytes", stored, encoding, first, count, count)
    np.testing.assert_array_equal(found.view(np.int8), codes[first : first + count])
    if encoding.bits == 4 and first % 2 == 0 and count % 4 == 0:
        found = decode_in_c("ef_decoder_bytes_4bit", stored, encoding, first, count, count)
        np.testing.assert_array_equal(found.view(np.int8), codes[first : first + count])


@settings(deadline=None, derandomize=True)
@given(coded_tensors(), st.data())
def test_o8_decoders_equal_python(tensor: tuple[np.ndarray, Encoding], data: st.DataObject) -> None:
    codes = np.tile(tensor[0], 16)
    encoding = tensor[1]
    if encoding.bits == 8:
        return
    stored = encode(codes, encoding)
    first = 8 * data.draw(st.integers(0, len(codes) // 8))
    count = 8 * data.draw(st.integers(0, (len(codes) - first) // 8))
    wanted = o8_words(codes[first : first + count]) if count else np.empty(0, np.uint32)
    by_table = encoding.bits == 4 and count % 16 == 0
    names = ["ef_decoder_o8"] + ["ef_decoder_o8_4bit"] * by_table
    for name in names:
        found = decode_in_c(name, stored, encoding, first, count, count)
        np.testing.assert_array_equal(found.view(np.uint32), wanted)


@pytest.mark.parametrize(
    ("values", "bits"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4), (17, 5), (33, 6), (64, 6)],
)
def test_codebook_takes_the_fewest_bits(values: int, bits: int) -> None:
    encoding = codebook_encoding(np.arange(values, dtype=np.int8))
    assert encoding is not None
    assert (encoding.bits, len(encoding.table)) == (bits, 2**bits)


def test_too_many_values_have_no_codebook() -> None:
    assert codebook_encoding(np.arange(65, dtype=np.int8)) is None


def test_small_range_is_packed() -> None:
    codes = np.arange(-8, 8, dtype=np.int8)
    assert {e.name for e in find_encodings(codes)} == {"raw", "packed4", "codebook"}
    np.testing.assert_array_equal(encode(codes[8:], PACKED4), [0x10, 0x32, 0x54, 0x76])
    np.testing.assert_array_equal(encode(codes[:2], PACKED4), [0x98])


def test_sixteen_values_take_half_the_bytes_and_a_table() -> None:
    codes = np.resize(np.arange(-80, 80, 10, dtype=np.int8), 4096)
    encoding = named_encoding("codebook", codes)
    assert encoding.data_bytes(codes.size) + len(encoding.table) == 2048 + 16


def test_codes_that_do_not_fit_are_errors() -> None:
    codes = np.arange(-100, 100, dtype=np.int8)
    with pytest.raises(DataError, match="codebook"):
        named_encoding("codebook", codes)
    with pytest.raises(OptionError, match="no such"):
        named_encoding("zip", codes)
    with pytest.raises(DataError, match="not in the table"):
        encode(codes, PACKED4)
    with pytest.raises(DataError, match="length"):
        decode(np.zeros(3, np.uint8), RAW, 4)
