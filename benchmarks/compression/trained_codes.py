"""Whether an exported network has the codes, and the vectors, that it was trained with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgefactor.pipeline.compress.accounting import device_codes
from edgefactor.pipeline.compress.save import read_metadata
from edgefactor.pipeline.load import load
from edgefactor.pipeline.report import Report


def differing_elements(report: Report) -> int:
    """Elements that differ on the rungs where none may: all tensors, all samples."""
    return sum(rung.differing_elements for rung in report.parity if rung.exact_required)


def exported_codes(bundle: Path) -> dict[str, NDArray[np.int8]]:
    """int8 weights of the exported network by layer, (outputs, ...) in the device's order.

    The ONNX file's: every rung agrees with it element for element.
    """
    found = {}
    for tensor in onnx.load(str(bundle / "model.int8.onnx")).graph.initializer:
        layer, _, kind = tensor.name.rpartition("/")
        if tensor.data_type == onnx.TensorProto.INT8 and kind.startswith("constant"):
            codes = onnx.numpy_helper.to_array(tensor)
            # A layer that is computed in stripes of rows is several, all with its codes.
            order = (0, *range(2, codes.ndim), 1)
            found[layer.partition("@")[0]] = codes.transpose(order)
    return found


def _vectors(codes: NDArray[np.int8], width: int, *, rows: bool) -> set[tuple[int, ...]]:
    """Those along the input channels, or along the rows of kernels."""
    codes = codes.swapaxes(-1, -2) if rows else codes
    return set(map(tuple, codes.reshape(-1, width).tolist()))


def codes_as_trained(model: Path, bundle: Path) -> dict[str, tuple[int, int]]:
    """Under "values" and "vectors": (layers with as many distinct ones as trained, shared ones).

    Values and vectors are those of the trained weights over their channels' factors, on the grid of
    8 bits; of vectors, and of the values in them, none may be exported that was not trained.
    """
    state = load(model).module.state_dict()
    facts = read_metadata(model)
    assert facts is not None
    found = exported_codes(bundle)
    right = {"values": 0, "vectors": 0}
    shared = dict(right)
    for layer in facts["storage"]["layers"]:
        if layer["kind"] not in ("shared", "vector", "quantized"):
            continue
        name = layer["name"]
        weight, scale = state[f"{name}.weight"].numpy(), state.get(f"{name}.weight_scale")
        codes = device_codes(weight, None if scale is None else scale.numpy(), shared=True)
        values, exported = (set(np.unique(part).tolist()) for part in (codes, found[name]))
        shared["values"] += 1
        if layer["kind"] != "vector":
            right["values"] += len(exported) == len(values)
        else:
            # Fewer where a vector stands in channels only that training switched off.
            right["values"] += exported <= values
            width = layer["weights"] // layer["entries"]
            # Vectors lie the way in which there are as few as the codebook has.
            rows = len(_vectors(codes, width, rows=False)) > layer["values"]
            trained = _vectors(codes, width, rows=rows)
            shared["vectors"] += 1
            fits = len(trained) <= layer["values"]
            right["vectors"] += fits and _vectors(found[name], width, rows=rows) <= trained
    return {kind: (right[kind], shared[kind]) for kind in right}
