from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgefactor.errors import DataError
from edgefactor.pipeline.compress.huffman import canonical_codes, code_lengths, decode, encode


def entropy(symbols: np.ndarray) -> float:
    share = np.unique(symbols, return_counts=True)[1] / symbols.size
    return float(-(share * np.log2(share)).sum())


STREAMS = {
    "one symbol": np.full(9, 3),
    "two": np.array([0, 0, 0, 1]),
    "even": np.arange(256) % 16,
    "geometric": np.random.default_rng(0).geometric(0.3, 5000),
    "long codes": np.repeat(np.arange(12), 2 ** np.arange(12)),
    "negative": np.array([-5, -5, 7, 0]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_coded_and_decoded_within_a_bit_of_the_entropy(name: str) -> None:
    symbols = STREAMS[name].astype(np.int64)
    stream = encode(symbols)
    assert np.array_equal(decode(stream), symbols)
    mean = stream.bits / symbols.size
    assert entropy(symbols) <= mean + 1e-12
    assert mean < entropy(symbols) + 1 or len(stream.lengths) == 1


def test_powers_of_two_reach_the_entropy() -> None:
    symbols = np.repeat([0, 1, 2, 3], [8, 4, 2, 2])
    assert encode(symbols).bits == 8 * 1 + 4 * 2 + 2 * 3 + 2 * 3


def test_an_independent_decoder_reads_the_bits() -> None:
    symbols = STREAMS["geometric"].astype(np.int64)
    stream = encode(symbols)
    # Canonical decoding by first code and count of each length (as in RFC 1951, section 3.2.2).
    ordered = sorted(stream.lengths, key=lambda symbol: (stream.lengths[symbol], symbol))
    longest = max(stream.lengths.values())
    counts = [0] + [list(stream.lengths.values()).count(n) for n in range(1, longest + 1)]
    bits = iter("".join(f"{byte:08b}" for byte in stream.data))
    for expected in symbols:
        code = first = index = 0
        for count in counts[1:]:
            code |= int(next(bits))
            if code - first < count:
                assert ordered[index + code - first] == expected
                break
            index, first, code = index + count, (first + count) << 1, code << 1


def test_no_code_is_the_beginning_of_another() -> None:
    lengths = code_lengths({0: 40, 1: 7, 2: 7, 3: 3, 4: 1, 5: 1, 6: 0})
    assert 6 not in lengths
    assert sum(2.0**-length for length in lengths.values()) == 1  # Kraft
    texts = [f"{code:0{lengths[symbol]}b}" for symbol, code in canonical_codes(lengths).items()]
    assert not any(a != b and b.startswith(a) for a in texts for b in texts)


def test_damaged_stream() -> None:
    stream = encode(np.array([0, 1, 2, 2, 2, 3]))
    with pytest.raises(DataError, match="damaged"):
        decode(dataclasses.replace(stream, bits=stream.bits - 1))
