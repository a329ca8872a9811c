"""The convolution kernels as a shared library of the host, called through ctypes.

Buffers lie at the end of a page whose successor may not be touched, so that a read or write past
an array ends the test run even without a sanitizer.
"""

import ctypes
import mmap
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from edgefactor.export.c_code.layer_code import CSymbol, CValue, LayerCode, Ref
from tests.tools import REPOSITORY, require_tool

SOURCES = REPOSITORY / "runtime" / "csrc"
WARNINGS = "-std=c99 -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Werror".split()
CONV_FILES = (
    "ef_clamp_outputs.c",
    "ef_conv2d_r*.c",
    "ef_conv2d_s8*.c",
    "ef_conv2d_strips.c",
    "ef_dense*.c",
    "ef_depthwise*.c",
    "ef_directions*.c",
    "ef_decoder*.c",
    "ef_dot*.c",
    "ef_o8*.c",
    "ef_plane*.c",
    "ef_pairs*.c",
    "ef_swar*.c",
    "ef_sums*.c",
    "ef_digits*.c",
    "ef_huffman*.c",
    "ef_sparse_dot.c",
    "ef_vectors*.c",
)


def conv_sources() -> list[Path]:
    """All C files of the convolution family."""
    return sorted(path for pattern in CONV_FILES for path in SOURCES.glob(pattern))


class Weights(ctypes.Structure):
    """ef_weights."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("decoder", ctypes.c_void_p),
        ("bits", ctypes.c_uint16),
        ("width", ctypes.c_uint8),
        ("gap_bits", ctypes.c_uint8),
    ]


class Args(ctypes.Structure):
    """ef_conv2d_args."""

    _fields_ = [
        ("weights", Weights),
        ("bias", ctypes.c_void_p),
        ("multiplier", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("tile_offset", ctypes.c_uint32),
        ("strip_offset", ctypes.c_uint32),
        *(
            (name, ctypes.c_uint16)
            for name in (
                "strip_pixels in_h in_w in_c out_h out_w out_c kernel_h kernel_w stride_h "
                "stride_w dilation_h dilation_w pad_top pad_left groups"
            ).split()
        ),
        ("in_zero_point", ctypes.c_int16),
        ("out_zero_point", ctypes.c_int16),
        ("clamp_min", ctypes.c_int8),
        ("clamp_max", ctypes.c_int8),
        ("packed", ctypes.c_uint8),
    ]


class Guarded:
    """A buffer that ends where an inaccessible page begins."""

    def __init__(self, size: int, align: int = 4) -> None:
        page = mmap.PAGESIZE
        pages = -(-max(size, 1) // page)
        self._map = mmap.mmap(-1, (pages + 1) * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        guard = ctypes.c_void_p(start + pages * page)
        if libc.mprotect(guard, ctypes.c_size_t(page), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        # An element of `align` bytes must begin on its alignment; the sizes here are multiples.
        assert size % align == 0
        self.address = start + pages * page - size
        self.bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.address))

    @staticmethod
    def holding(data: NDArray[np.generic]) -> "Guarded":
        """A buffer with a copy of an array."""
        raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        buffer = Guarded(raw.size, data.dtype.itemsize)
        buffer.bytes[:] = raw
        return buffer


@cache
def library(compiler: str = "gcc") -> ctypes.CDLL:
    """The kernels built with the contract's warnings as errors."""
    out = Path(mkdtemp()) / "libconv.so"
    command = [
        require_tool(compiler),
        # As targets/host.toml has it: loops of the plain twins become vectors.
        "-O3",
        "-g",
        *WARNINGS,
        "-shared",
        "-fPIC",
        *map(str, conv_sources()),
        "-o",
        str(out),
    ]
    subprocess.run(command, check=True, timeout=120)
    return ctypes.CDLL(str(out))


def run_kernel(
    layer: LayerCode,
    data: NDArray[np.int8],
    *,
    lead: int | None = None,
    in_scratch: bool = False,
    compiler: str = "gcc",
) -> NDArray[np.int8]:
    """Runs one layer on the host; the output is (out_h, out_w, out_c).

    Args:
        layer: The kernel with its constants.
        data: The input (in_h, in_w, in_c).
        lead: Bytes from the start of the output to that of the input in one shared buffer (0: in
            place, negative: the input comes first); None for buffers of their own.
        in_scratch: Whether the input lies in scratch, as far behind its start as it must.
        compiler: Builds the library.
    """
    (call,) = layer.calls
    lib = library(compiler)
    buffers = {array.suffix: Guarded.holding(array.data) for array in layer.arrays}
    args = Args()
    _fill(args, call.args, buffers, lib)
    out_shape = (args.out_h, args.out_w, args.out_c)
    scratch = Guarded(layer.scratch_bytes)
    scratch.bytes[:] = 0xA5
    size = int(np.prod(out_shape))
    function = getattr(lib, call.function)
    function.argtypes = [ctypes.c_void_p] * 4
    function.restype = None
    if in_scratch:
        start = -(-(layer.scratch_lead or 0) // 4) * 4
        scratch = Guarded(max(layer.scratch_bytes, -(-(start + data.size) // 4) * 4))
        scratch.bytes.view(np.int8)[start : start + data.size] = data.reshape(-1)
        target = Guarded(size, 1)
        where = scratch.address
        function(ctypes.byref(args), where + start, target.address, where)
        return target.bytes.view(np.int8).reshape(out_shape).copy()
    if lead is None:
        source, target = Guarded.holding(data), Guarded(size, 1)
        function(ctypes.byref(args), source.address, target.address, scratch.address)
        assert np.array_equal(source.bytes.view(np.int8), data.reshape(-1)), "input was written"
        return target.bytes.view(np.int8).reshape(out_shape).copy()
    in_start, out_start = max(lead, 0), max(-lead, 0)
    both = Guarded(max(in_start + data.size, out_start + size), 1)
    both.bytes.view(np.int8)[in_start : in_start + data.size] = data.reshape(-1)
    start = both.address
    function(ctypes.byref(args), start + in_start, start + out_start, scratch.address)
    out = both.bytes.view(np.int8)[out_start : out_start + size]
    return out.reshape(out_shape).copy()


def _fill(
    struct: ctypes.Structure,
    values: Mapping[str, CValue],
    buffers: dict[str, Guarded],
    lib: ctypes.CDLL,
) -> None:
    """Sets the fields of a struct; the names must be its own, in order."""
    assert [name for name, *_ in struct._fields_] == list(values)
    for name, value in values.items():
        if isinstance(value, Mapping):
            _fill(getattr(struct, name), value, buffers, lib)
        elif isinstance(value, Ref):
            setattr(struct, name, buffers[value.suffix].address)
        elif isinstance(value, CSymbol):
            symbol = value.name.removeprefix("&")
            known = symbol != "NULL"
            address = ctypes.addressof(ctypes.c_char.in_dll(lib, symbol)) if known else None
            setattr(struct, name, address)
        else:
            setattr(struct, name, value)
