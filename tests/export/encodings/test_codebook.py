"""The weight format: its Python codec, and the same in C by every decoder."""

import ctypes
import itertools
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import DataError, OptionError
from edgefactor.export.conv_kernels.packing import (
    block_order,
    o8_order,
    o8_words,
    table_bytes,
    vector_order,
)
from edgefactor.export.encodings.codebook import (
    PACKED4,
    RAW,
    SCALAR_NAMES,
    Encoding,
    codebook_encoding,
    decode,
    encode,
    find_encodings,
    named_encoding,
    uniform_encoding,
)
from edgefactor.export.encodings.huffman_code import (
    HEADER_BYTES,
    LENGTH_BYTES,
    code_lengths,
    huffman_encoding,
)
from edgefactor.export.encodings.sparse_code import decode_sparse, encode_sparse, sparse_encoding
from edgefactor.export.encodings.vector_code import WIDTHS, vector_encoding
from tests.runtime.conv_library import Guarded, Weights, library

LUT_BYTES = 512
HUFFMAN_LUT_BYTES = 532


@st.composite
def coded_tensors(draw: st.DrawFn) -> tuple[np.ndarray, Encoding]:
    """Codes with few distinct values, and an encoding that holds them."""
    values = draw(st.lists(st.integers(-127, 127), min_size=1, max_size=64, unique=True))
    count = draw(st.integers(1, 100))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    codes = rng.choice(np.array(values, np.int8), count)
    scalar = [encoding for encoding in find_encodings(codes) if encoding.name in SCALAR_NAMES]
    return codes, draw(st.sampled_from(scalar))


@st.composite
def vector_tensors(draw: st.DrawFn) -> tuple[np.ndarray, Encoding]:
    """Codes (O, taps) of at most 256 vectors, and their encoding."""
    width = draw(st.sampled_from(WIDTHS))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    pool = rng.integers(-127, 128, (draw(st.integers(1, 256)), width))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    codes = pool[rng.integers(0, len(pool), shape)].reshape(shape[0], -1).astype(np.int8)
    encoding = vector_encoding(codes, width)
    assert encoding is not None
    return codes, encoding


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
    weights = Weights(stored.address, table.address, None, encoding.code_bits, encoding.width, 0)
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


@settings(deadline=None, derandomize=True)
@given(vector_tensors())
def test_vector_decoders_equal_python(tensor: tuple[np.ndarray, Encoding]) -> None:
    codes, encoding = tensor
    flat = codes.reshape(-1)
    stored = encode(flat, encoding)
    np.testing.assert_array_equal(decode(stored, encoding, flat.size), flat)
    found = decode_in_c("ef_decoder_vectors", stored, encoding, 0, flat.size, flat.size)
    np.testing.assert_array_equal(found.view(np.int8), flat)

    blocks = vector_order(codes, 1, encoding.width, 1)
    wanted = block_order(codes, 1, 0).reshape(-1, codes.shape[1], 4)
    name = "ef_decoder_vectors_blocks"
    found = decode_in_c(name, encode(blocks, encoding), encoding, 0, blocks.size, blocks.size)
    decoded = found.view(np.int8).reshape(wanted.shape)
    for channel in range(len(codes)):
        at = np.s_[channel // 4, :, channel % 4]
        np.testing.assert_array_equal(decoded[at], wanted[at])

    taps = codes.shape[1] // 4 * 4
    if taps == codes.shape[1] and len(codes) % 4 == 0:
        blocks = vector_order(codes, 1, encoding.width, 4)
        name = "ef_decoder_vectors_o8"
        stored = encode(blocks, encoding)
        found = decode_in_c(name, stored, encoding, 0, blocks.size, blocks.size)
        np.testing.assert_array_equal(found.view(np.uint32), o8_words(o8_order(codes, 1, 0)))


@settings(deadline=None, derandomize=True)
@given(
    st.integers(1, 5),
    st.integers(1, 900),
    st.integers(0, 60),
    st.floats(0, 0.5),
    st.integers(0, 99),
)
def test_sparse_decoder_inverts_encoder(
    rows: int, taps: int, values: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.choice(np.setdiff1d(np.arange(-128, 128), [0]), max(values, 1), replace=False)
    kept = rng.random((rows, taps)) < density * (values > 0)
    codes = np.where(kept, rng.choice(pool, kept.shape), 0).astype(np.int8)
    encoding = sparse_encoding(codes)
    if encoding is None:
        assert np.count_nonzero(codes) > codes.size / 2
        return
    stored = encode_sparse(codes, encoding)
    assert len(stored) == encoding.stream_bytes == encoding.data_bytes(codes.size)
    np.testing.assert_array_equal(decode_sparse(stored, encoding, rows, taps), codes)


def test_progressions_are_uniform() -> None:
    codes = np.array([-120, -120 + 15 * 7, -120 + 8 * 7], np.int8)
    encoding = uniform_encoding(codes)
    assert encoding is not None
    assert (encoding.bits, encoding.table[1] - encoding.table[0]) == (4, 7)
    assert uniform_encoding(np.array([-5, 0, 12], np.int8)) is None
    two_bits = uniform_encoding(np.array([-30, 0, 30, 60], np.int8))
    assert two_bits is not None
    assert (two_bits.bits, two_bits.table) == (2, (-30, 0, 30, 60))


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
    assert {e.name for e in find_encodings(codes)} >= {"raw", "packed4", "codebook", "uniform"}
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


# ---- Huffman codes -------------------------------------------------------------------------------


@st.composite
def huffman_tensors(draw: st.DrawFn) -> tuple[np.ndarray, Encoding]:
    """Codes of up to 64 values, from equally frequent to every one rarer than the one before."""
    values = draw(st.lists(st.integers(-128, 127), min_size=1, max_size=64, unique=True))
    fall = draw(st.sampled_from([1.0, 0.9, 0.5]))
    count = draw(st.integers(1, 600))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    shares = fall ** np.arange(len(values))
    codes = rng.choice(np.array(values, np.int8), count, p=shares / shares.sum())
    encoding = huffman_encoding(codes)
    assert encoding is not None
    return codes, encoding


def least_cost(counts: list[int], most_bits: int) -> int:
    """Fewest bits of a prefix code with a limit, by trying all lengths (Kraft's inequality)."""
    options = itertools.product(range(1, most_bits + 1), repeat=len(counts))
    return min(
        sum(map(operator.mul, counts, lengths))
        for lengths in options
        if sum(2.0**-length for length in lengths) <= 1
    )


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 500), min_size=2, max_size=6), st.integers(3, 5))
def test_limited_codes_are_the_shortest(counts: list[int], most_bits: int) -> None:
    lengths = code_lengths(dict(enumerate(counts)), most_bits)
    assert max(lengths.values()) <= most_bits
    assert sum(counts[symbol] * bits for symbol, bits in lengths.items()) == least_cost(
        counts, most_bits
    )


def test_a_rare_value_has_a_code_of_eight_bits_at_most() -> None:
    codes = np.repeat(np.arange(12), 2 ** np.arange(12)).astype(np.int8)
    encoding = huffman_encoding(codes)
    assert encoding is not None
    assert (min(encoding.lengths), max(encoding.lengths)) == (1, 8)
    assert sum(2.0**-length for length in encoding.lengths) == 1
    np.testing.assert_array_equal(decode(encode(codes, encoding), encoding, codes.size), codes)


@settings(deadline=None, derandomize=True)
@given(huffman_tensors())
def test_huffman_decoder_inverts_encoder(tensor: tuple[np.ndarray, Encoding]) -> None:
    codes, encoding = tensor
    data = encode(codes, encoding)
    assert len(data) == encoding.stream_bytes == encoding.data_bytes(codes.size)
    np.testing.assert_array_equal(decode(data, encoding, codes.size), codes)
    with pytest.raises(DataError):
        decode(data[:-1], encoding, codes.size)
    with pytest.raises(DataError):
        decode(data, encoding, codes.size + 8 * len(data))
    with pytest.raises(DataError):
        encode(np.setdiff1d(np.arange(-128, 128), codes).astype(np.int8)[:1], encoding)


def runs_in_c(
    name: str, data: np.ndarray, encoding: Encoding, runs: list[tuple[int, int]], bytes_each: int
) -> list[np.ndarray]:
    """What a decoder writes for several runs (first, count), one after the other."""
    decoder = _Decoder.in_dll(library(), name)
    stored, table = Guarded.holding(data), Guarded.holding(table_bytes(encoding))
    weights = Weights(stored.address, table.address, None, encoding.code_bits, encoding.width, 0)
    lut = Guarded(HUFFMAN_LUT_BYTES)
    lut.bytes[:] = 0xA5
    PREPARE(decoder.prepare)(ctypes.addressof(weights), lut.address)
    found = []
    for first, count in runs:
        out = Guarded(count * bytes_each, bytes_each)
        DECODE(decoder.decode)(ctypes.addressof(weights), lut.address, first, count, out.address)
        found.append(out.bytes.copy())
    return found


@settings(deadline=None, derandomize=True)
@given(huffman_tensors(), st.data())
def test_huffman_decoders_equal_python(
    tensor: tuple[np.ndarray, Encoding], data: st.DataObject
) -> None:
    codes, encoding = tensor
    stored = encode(codes, encoding)
    cuts = sorted(data.draw(st.lists(st.integers(0, codes.size), max_size=4)))
    ends = [*cuts, codes.size]
    runs = [(a, b - a) for a, b in zip([0, *cuts], ends, strict=True)]
    runs += data.draw(st.permutations(runs))  # back and forth, too
    found = runs_in_c("ef_decoder_huffman", stored, encoding, runs, 1)
    for (first, count), part in zip(runs, found, strict=True):
        np.testing.assert_array_equal(part.view(np.int8), codes[first : first + count])
    pairs = [(first, count // 2 * 2) for first, count in runs]
    found = runs_in_c("ef_decoder_huffman_o8", stored, encoding, pairs, 1)
    for (first, count), part in zip(pairs, found, strict=True):
        wanted = codes[first : first + count].reshape(-1, 2).astype(np.int32)
        halves = (256 * wanted[:, 1] + wanted[:, 0]).astype(np.int16)
        np.testing.assert_array_equal(part.view(np.int16), halves)


@settings(deadline=None, derandomize=True)
@given(huffman_tensors(), st.data())
def test_huffman_decoders_read_nothing_past_a_damaged_or_short_stream(
    tensor: tuple[np.ndarray, Encoding], data: st.DataObject
) -> None:
    # Guarded ends the test run at the first byte behind the data.
    codes, encoding = tensor
    stored = encode(codes, encoding)
    cut = data.draw(st.integers(0, len(stored) - HEADER_BYTES))
    short = stored[: HEADER_BYTES + cut].copy()
    short[:LENGTH_BYTES] = list(cut.to_bytes(LENGTH_BYTES, "little"))
    for at in data.draw(st.lists(st.integers(LENGTH_BYTES, len(short) - 1), max_size=6)):
        short[at] ^= 1 << data.draw(st.integers(0, 7))
    count = codes.size // 2 * 2 + 64
    for name in ("ef_decoder_huffman", "ef_decoder_huffman_o8"):
        (found,) = runs_in_c(name, short, encoding, [(0, count)], 1)
        known = {value & 0xFF for value in encoding.table}
        if name == "ef_decoder_huffman":
            assert set(found.tolist()) <= known
