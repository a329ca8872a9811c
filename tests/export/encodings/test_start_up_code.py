"""Bytes in Huffman codes that are decoded at start-up: Python and C, whole and damaged."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefactor.errors import DataError
from edgefactor.export.encodings.start_up_code import (
    MOST_BITS,
    PLAIN,
    SIGNED_LOW,
    TURNED_SIGN,
    PackedBytes,
    fnv1a,
    pack_bytes,
    unpack_bytes,
)
from edgefactor.runtime.toolchain import run
from tests.tools import REPOSITORY, require_tool

CSRC = REPOSITORY / "runtime" / "csrc"
FIXES = (PLAIN, SIGNED_LOW, TURNED_SIGN)
#: Sizes around whole units and whole words, and one with codes of many lengths.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 2000)
SECONDS = 120
#: Every bit of stream, units and their number turned once, in memory that ends where they end.
DAMAGE = """
#include "ef_unpack.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
@ARRAYS@
static void *copy(const void *from, size_t bytes) { return memcpy(malloc(bytes), from, bytes); }
int main(void)
{
    const size_t sizes[2] = {sizeof stream, sizeof units};
    unsigned missed = 0, found = 0;
    for (int which = 0; which < 2; ++which) {
        for (size_t bit = 0; bit < 8 * sizes[which]; ++bit) {
            uint8_t *parts[2] = {copy(stream, sizeof stream), copy(units, sizeof units)};
            uint8_t *out = malloc(sizeof data);
            parts[which][bit / 8] ^= (uint8_t)(1u << bit % 8);
            const ef_packed packed = {parts[0], parts[1], sizeof stream, sizeof data, @CHECK@u,
                                      sizeof units, @BITS@, @FIX@};
            const int status = ef_unpack(&packed, out);
            found += status != 0;
            missed += status == 0 && memcmp(out, data, sizeof data) != 0;
            free(parts[0]); free(parts[1]); free(out);
        }
    }
    printf("%u %u\\n", found, missed);
    return 0;
}
"""


class Packed(ctypes.Structure):
    _fields_ = (
        ("stream", ctypes.c_void_p),
        ("units", ctypes.c_void_p),
        ("stream_bytes", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("check", ctypes.c_uint32),
        ("unit_count", ctypes.c_uint16),
        ("bits", ctypes.c_uint8),
        ("fix", ctypes.c_uint8),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    made = tmp_path_factory.mktemp("unpack") / "unpack.so"
    flags = ("-std=c99", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    run((require_tool("gcc"), *flags, CSRC / "ef_unpack.c", "-o", made), timeout_seconds=SECONDS)
    return ctypes.CDLL(str(made))


def skewed(size: int, seed: int = 0) -> np.ndarray:
    """Bytes of which few are frequent."""
    generator = np.random.default_rng(seed)
    return np.minimum(generator.geometric(0.2, size) - 1, 255).astype(np.uint8)


def unpacked(library: ctypes.CDLL, packed: PackedBytes) -> np.ndarray | None:
    """What the C decodes, guard bytes intact; None if it says that the codes are damaged."""
    out = np.full(packed.size + 32, 0xA5, np.uint8)
    argument = Packed(
        packed.stream.ctypes.data,
        packed.units.ctypes.data,
        len(packed.stream),
        packed.size,
        packed.check,
        len(packed.units),
        packed.bits,
        packed.fix,
    )
    status = library.ef_unpack(ctypes.byref(argument), ctypes.c_void_p(out.ctypes.data + 16))
    assert (out[:16] == 0xA5).all() and (out[-16:] == 0xA5).all()
    return None if status else out[16:-16]


@pytest.mark.parametrize("fix", FIXES)
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("size", SIZES)
def test_what_is_packed_comes_back(library: ctypes.CDLL, size: int, bits: int, fix: int) -> None:
    data = skewed(size, bits)
    packed = pack_bytes(data, bits=bits, fix=fix)
    assert packed is not None and packed.bits in (bits, 2 * bits)
    np.testing.assert_array_equal(unpack_bytes(packed), data)
    np.testing.assert_array_equal(unpacked(library, packed), data)


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    bits=st.integers(1, 8),
    fix=st.sampled_from(FIXES),
)
def test_any_bytes(library: ctypes.CDLL, data: bytes, bits: int, fix: int) -> None:
    array = np.frombuffer(data, np.uint8)
    packed = pack_bytes(array, bits=bits, fix=fix)
    assert packed is not None
    np.testing.assert_array_equal(unpack_bytes(packed), array)
    np.testing.assert_array_equal(unpacked(library, packed), array)


def test_codes_as_long_as_there_are(library: ctypes.CDLL) -> None:
    # Fibonacci's numbers ask for one more bit for each symbol: package-merge keeps to 15.
    counts = [1, 1]
    while len(counts) < 22:
        counts.append(counts[-1] + counts[-2])
    data = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    packed = pack_bytes(data, bits=8)
    assert packed is not None
    assert packed.stream[MOST_BITS - 1] > 0
    np.testing.assert_array_equal(unpacked(library, packed), data)


def test_bytes_that_are_all_different_have_no_code() -> None:
    assert pack_bytes(np.arange(256, dtype=np.uint8), bits=8) is None


def test_frequent_pairs_take_fewer_bits_than_single_values() -> None:
    data = np.where(np.random.default_rng(0).random(4000) < 0.95, 0, 0x21).astype(np.uint8)
    packed = pack_bytes(data, bits=4)
    assert packed is not None and packed.bits == 8
    assert packed.stored_bytes < 4000 / 4


def test_hash_as_published() -> None:
    # draft-eastlake-fnv-17, appendix C: FNV-1a of "foobar" with 32 bits.
    assert fnv1a(np.frombuffer(b"foobar", np.uint8)) == 0xBF9CF968


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("fix", FIXES)
def test_no_damage_goes_unnoticed(tmp_path: Path, bits: int, fix: int) -> None:
    data = skewed(240, 7)
    packed = pack_bytes(data, bits=bits, fix=fix)
    assert packed is not None
    arrays = {"stream": packed.stream, "units": packed.units, "data": data}
    texts = [
        f"static const uint8_t {name}[] = {{{', '.join(map(str, values.tolist()))}}};"
        for name, values in arrays.items()
    ]
    text = DAMAGE.replace("@ARRAYS@", "\n".join(texts)).replace("@CHECK@", str(packed.check))
    text = text.replace("@BITS@", str(packed.bits)).replace("@FIX@", str(packed.fix))
    (tmp_path / "damage.c").write_text(text)
    flags = ("-std=c99", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = tmp_path / "damage"
    command = (require_tool("gcc"), *flags, f"-I{CSRC}", tmp_path / "damage.c")
    run((*command, CSRC / "ef_unpack.c", "-o", program), timeout_seconds=SECONDS)
    found, missed = map(int, run((program,), timeout_seconds=SECONDS).stdout.split())
    assert missed == 0
    # Only bits that no code uses make no difference.
    assert found > 0.9 * 8 * packed.stored_bytes


def test_python_notices_damage_too() -> None:
    packed = pack_bytes(skewed(100), bits=8)
    assert packed is not None
    packed.stream[MOST_BITS + 3] ^= 0x10
    with pytest.raises(DataError, match="damaged"):
        unpack_bytes(packed)
