"""Pools and movers in one network: C on the host with sanitizers and on emulated Arm."""

from pathlib import Path

import numpy as np
import pytest

from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.c_writer import write_c
from edgefactor.export.reference import run_samples
from edgefactor.pipeline.lower import lower
from edgefactor.pipeline.quantize import quantize
from edgefactor.runtime.emulator import EmulatedRunner
from edgefactor.runtime.host import HostRunner
from edgefactor.targets.catalogue import load_target
from tests.export.ops.lowering import parse
from tests.tools import require_tool

#: Odd channel counts take the plain kernels, multiples of four the ones that work by words.
NETWORK = """
  a = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x)
  b = AveragePool<kernel_shape=[3,3],strides=[1,1],pads=[1,1,1,1]>(a)
  c = AveragePool<kernel_shape=[2,2],pads=[0,0,1,1],count_include_pad=1>(a)
  sizes = Constant<value_ints=[3,5]>()
  d, e = Split<axis=1>(b, sizes)
  f = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(d)
  g = Concat<axis=1>(e, f, c, a)
  scales = Constant<value_floats=[1.0,1.0,2.0,2.0]>()
  h = Resize<mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor">
      (g, , scales)
  amounts = Constant<value_ints=[0,0,1,0,0,0,0,2]>()
  i = Pad(h, amounts)
  start = Constant<value_ints=[0]>()
  end = Constant<value_ints=[99]>()
  axis = Constant<value_ints=[3]>()
  step = Constant<value_ints=[2]>()
  j = Slice(i, start, end, axis, step)
  k = AveragePool<kernel_shape=[2,2],strides=[2,2]>(j)
  l = AveragePool<kernel_shape=[8,4]>(k)
  m = Transpose<perm=[0,2,1,3]>(k)
  row = Constant<value_ints=[1,-1]>()
  n = Reshape(m, row)
  o = Reshape(l, row)
  y = Concat<axis=1>(n, o)
"""
SAMPLES = 3


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory):
    """The folder of the C, the samples as bytes, and all tensors by the NumPy reference."""
    graph = lower(parse("float[1,8,16,16] x", NETWORK), name="net")
    graph = quantize(graph, {tensor.name: (-3.0, 3.0) for tensor in graph.activations})
    folder: Path = tmp_path_factory.mktemp("movers")
    for name, text in write_c(graph, CTarget(), prefix="net").files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (port,) = graph.inputs
    shape = (SAMPLES, *graph.tensors[port.tensor].shape)
    codes = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    return folder, codes.reshape(SAMPLES, -1), run_samples(graph, {port.tensor: codes})


def compare(found, expected):
    assert found
    for name, codes in found.items():
        np.testing.assert_array_equal(codes, expected[name].reshape(SAMPLES, -1), name)


def test_on_the_host_with_sanitizers(case):
    require_tool("gcc")
    folder, samples, expected = case
    with HostRunner(folder, sanitize=True) as runner:
        compare(runner.run(samples), expected)


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"])
def test_on_emulated_arm(case, target):
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    folder, samples, expected = case
    with EmulatedRunner(folder, load_target(target)) as runner:
        compare(runner.run(samples), expected)
