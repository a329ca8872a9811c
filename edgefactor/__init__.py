"""edgefactor: PyTorch networks to checked int8 ONNX, TFLite and C for microcontrollers.

    import edgefactor as ef
    report = ef.export_model(ef.ExportOptions(model=Path("model.pt"), calibration="calib.npz"))

One function for each command, taking and returning frozen dataclasses. They are imported when they
are first used, so that ``import edgefactor`` does not load PyTorch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from edgefactor.errors import (
    BudgetError,
    DataError,
    EdgefactorError,
    ModelError,
    OptionError,
    ParityError,
    TargetError,
    ToolError,
    UnsupportedOperatorError,
)

if TYPE_CHECKING:
    from edgefactor.pipeline.compress.api import apply as apply_method
    from edgefactor.pipeline.compress.api import freeze, share
    from edgefactor.pipeline.compress.run import compress
    from edgefactor.pipeline.compress.run import compress as compress_model
    from edgefactor.pipeline.compress_options import CompressOptions
    from edgefactor.pipeline.config import (
        CheckOptions,
        ExportOptions,
        FlashOptions,
        InputShape,
        ModelOptions,
        Normalization,
    )
    from edgefactor.pipeline.demo import demo_options
    from edgefactor.pipeline.flash import flash as flash_bundle
    from edgefactor.pipeline.inspect import inspect as inspect_model
    from edgefactor.pipeline.run import check as check_bundle
    from edgefactor.pipeline.run import export as export_model
    from edgefactor.targets.catalogue import list_targets, load_target

__version__ = "0.1.0"

# ONNX Runtime's wheels report their use to Microsoft unless this is set before they are loaded.
# Nobody who exports a network has asked for that; whoever wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "BudgetError",
    "CheckOptions",
    "CompressOptions",
    "DataError",
    "EdgefactorError",
    "ExportOptions",
    "FlashOptions",
    "InputShape",
    "ModelError",
    "ModelOptions",
    "Normalization",
    "OptionError",
    "ParityError",
    "TargetError",
    "ToolError",
    "UnsupportedOperatorError",
    "apply_method",
    "check_bundle",
    "compress",
    "compress_model",
    "demo_options",
    "export_model",
    "flash_bundle",
    "freeze",
    "inspect_model",
    "list_targets",
    "load_target",
    "share",
]

# Not plain `export` and `targets`: those are the names of sub-packages. `compress` is free, and
# `compress_model` is the same function under a name like the others'.
_LAZY = {
    "CompressOptions": ("edgefactor.pipeline.compress_options", "CompressOptions"),
    "apply_method": ("edgefactor.pipeline.compress.api", "apply"),
    "compress": ("edgefactor.pipeline.compress.run", "compress"),
    "compress_model": ("edgefactor.pipeline.compress.run", "compress"),
    "freeze": ("edgefactor.pipeline.compress.api", "freeze"),
    "share": ("edgefactor.pipeline.compress.api", "share"),
    "CheckOptions": ("edgefactor.pipeline.config", "CheckOptions"),
    "ExportOptions": ("edgefactor.pipeline.config", "ExportOptions"),
    "FlashOptions": ("edgefactor.pipeline.config", "FlashOptions"),
    "InputShape": ("edgefactor.pipeline.config", "InputShape"),
    "ModelOptions": ("edgefactor.pipeline.config", "ModelOptions"),
    "Normalization": ("edgefactor.pipeline.config", "Normalization"),
    "check_bundle": ("edgefactor.pipeline.run", "check"),
    "demo_options": ("edgefactor.pipeline.demo", "demo_options"),
    "export_model": ("edgefactor.pipeline.run", "export"),
    "flash_bundle": ("edgefactor.pipeline.flash", "flash"),
    "inspect_model": ("edgefactor.pipeline.inspect", "inspect"),
    "list_targets": ("edgefactor.targets.catalogue", "list_targets"),
    "load_target": ("edgefactor.targets.catalogue", "load_target"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
