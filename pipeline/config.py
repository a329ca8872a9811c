"""What a user can ask for: the options of one export and of one check, as plain data.

This module imports nothing heavy, so that the command line can build its options (and report a
wrong one) without waiting for PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgefactor.errors import OptionError

Progress = Callable[[str], None]
"""Called with a few words at the start of each stage."""

CALIBRATION_METHODS = ("min-max", "percentile", "entropy", "mse")
OPTIMIZE_POLICIES = ("balanced", "speed", "size")
HUFFMAN_WAYS = ("auto", "start-up", "tile", "none")
MOST_SHARED_VALUES = 64
VECTOR_LENGTHS = (2, 4, 8)
WEIGHT_BITS = (2, 4)
ACTIVATION_WIDTHS = ("auto", "int8", "int16")
MICRONET_TASKS = ("cifar10", "cifar100", "imagenet")
PROBE_PROGRAMS = ("auto", "openocd", "pyocd")
DEFAULT_TARGET = "cortex-m4"

_MAX_ELEMENTS = 1 << 28
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKmM]?)(i?[bB])?\s*")
_SHAPE = re.compile(r"(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)=)?(?P<dims>\d+(?:\s*[,x]\s*\d+)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputShape:
    """The shape of one model input, as the PyTorch model takes it.

    Attributes:
        dims: The sizes, batch first.
        name: The parameter of ``forward`` it belongs to; empty for "by position".
    """

    dims: tuple[int, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """How stored values become the model's input: ``(x * scale - mean) / std``.

    Attributes:
        scale: One factor for all values, e.g. 1/255 for pixels.
        mean: One number, or one per channel (axis 1 of the batch); empty for none.
        std: Likewise.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether values pass unchanged."""
        return self.scale == 1.0 and not any(self.mean) and all(s == 1.0 for s in self.std)

    def __post_init__(self) -> None:
        for option, values in (("--scale", (self.scale,)), ("--mean", self.mean)):
            if any(value != value or abs(value) == float("inf") for value in values):
                raise OptionError(f"{option} must be a finite number", where=option)
        if any(not 0 < value < float("inf") for value in self.std):
            raise OptionError("--std must be larger than 0", where="--std", found=str(self.std))
        if self.scale == 0:
            raise OptionError("--scale 0 would make every input the same", where="--scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model is meant, and how its file may be read.

    Attributes:
        model: The file: state dict, pickled module, TorchScript or .pt2.
        factory: ``file.py:function`` or ``package.module:function`` that builds the module a state
            dict belongs to.
        input_shapes: Shapes of the inputs; empty to take them from the file or the data.
        trust_pickle: Whether a pickle that names code of its own may be loaded.
    """

    model: Path
    factory: str | None = None
    input_shapes: tuple[InputShape, ...] = ()
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        make_paths(self, "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(ModelOptions):
    """One export.

    Attributes:
        target: Name of a target (``edgefactor targets``) or path of a target's TOML.
        calibration: Calibration data: .npz/.npy, image folder or ``file.py:function``.
        data: Evaluation data, likewise; None to evaluate on the calibration data.
        output: The bundle's folder; None for ``<model>-<target>`` in the working folder.
        normalization: From stored values to model inputs, for both kinds of data.
        calibration_method: One of `CALIBRATION_METHODS`; None for the default.
        activations: One of `ACTIVATION_WIDTHS`: "auto" takes 16 bits where the calibration shows
            that 8 bits lose too much, "int16" wherever an operator can.
        optimize: One of `OPTIMIZE_POLICIES`.
        huffman: One of `HUFFMAN_WAYS`: where weights in Huffman codes are decoded. "auto": at
            start-up into what ``ram_bytes`` leaves, if it is given, and by tile where ``optimize``
            is "size"; "start-up": into what the RAM leaves, given or the target's own.
        share: Distinct weight values to leave in each layer, 2 to 64; "auto" for what the flash
            budget asks for; None to share nothing.
        share_vectors: Weights per vector, 2, 4 or 8, of which each layer gets at most 256; None for
            no vectors.
        bits: 2 or 4: round the weights of each layer to so many evenly spaced values; None not to.
        stateful: Inputs that are kept from run to run and the outputs with their next values, as
            ``input=output``.
        keep: Patterns of layer names that are not shared.
        tune: Whether ``share`` "auto" trains what it shared towards the float network, on the
            calibration data and without labels.
        flash_bytes: Flash budget; None for the target's own size.
        ram_bytes: RAM budget; None for the target's own size.
        instructions: Budget of instructions per inference; None for no gate.
        max_accuracy_drop: Largest loss of accuracy from float to device, in percentage points.
        name: Prefix of the C names; None to derive it from the model file.
        samples: Inputs checked on each rung that runs on the host.
        emulated_samples: Inputs checked in the emulator.
        emulate: Whether to run the C in the emulator.
        seed: Seed of everything random (inputs in place of missing data, clustering).
    """

    target: str = DEFAULT_TARGET
    calibration: str | None = None
    data: str | None = None
    output: Path | None = None
    normalization: Normalization = Normalization()
    calibration_method: str | None = None
    activations: str = "auto"
    optimize: str = "balanced"
    huffman: str = "auto"
    share: int | Literal["auto"] | None = None
    share_vectors: int | None = None
    bits: int | None = None
    keep: tuple[str, ...] = ()
    stateful: tuple[str, ...] = ()
    tune: bool = True
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: int | None = None
    max_accuracy_drop: float | None = None
    name: str | None = None
    samples: int = 100
    emulated_samples: int = 10
    emulate: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("--calibration-method", self.calibration_method, (None, *CALIBRATION_METHODS))
        _one_of("--activations", self.activations, ACTIVATION_WIDTHS)
        _one_of("--optimize", self.optimize, OPTIMIZE_POLICIES)
        _one_of("--huffman", self.huffman, HUFFMAN_WAYS)
        _one_of("--share-vectors", self.share_vectors, (None, *VECTOR_LENGTHS))
        _one_of("--bits", self.bits, (None, *WEIGHT_BITS))
        if self.share is not None:
            parse_share(str(self.share))
        for option, limit in (
            ("--flash", self.flash_bytes),
            ("--ram", self.ram_bytes),
            ("--instructions", self.instructions),
        ):
            if limit is not None and limit < 1:
                raise OptionError(
                    f"{option} must be positive", where=option, found=str(limit), expected="from 1"
                )
        _check_drop(self.max_accuracy_drop)
        make_paths(self, "model", "output")
        if self.name is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", self.name):
            raise OptionError(
                "The name must be usable as a C prefix",
                where="--name",
                found=repr(self.name),
                expected="a letter, then letters, digits or underscores; at most 63 in all",
            )
        if self.samples < 1 or self.emulated_samples < 1:
            raise OptionError("At least one sample must be checked", where="--samples")

    @property
    def bundle(self) -> Path:
        """The folder that will be written."""
        return self.output or Path(f"{self.model.stem}-{Path(self.target).stem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """The checks once more, on a finished bundle.

    Attributes:
        bundle: The folder that an export wrote.
        data: Evaluation data; None for random inputs.
        samples: Inputs checked on each rung that runs on the host.
        emulated_samples: Inputs checked in the emulator.
        emulate: Whether to run the C in the emulator.
        max_accuracy_drop: In percentage points; None for the gate that the export had.
        seed: Seed of random inputs.
    """

    bundle: Path
    data: str | None = None
    samples: int = 100
    emulated_samples: int = 10
    emulate: bool = True
    max_accuracy_drop: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_drop(self.max_accuracy_drop)
        make_paths(self, "bundle")
        if self.samples < 1 or self.emulated_samples < 1:
            raise OptionError("At least one sample must be checked", where="--samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashOptions:
    """A finished bundle on a real board.

    Attributes:
        bundle: The folder that an export wrote.
        target: Another target than the bundle's, for the memory and the name of its part.
        probe: The program that drives the debug probe: ``auto``, ``openocd`` or ``pyocd``.
        configuration: Configuration files of OpenOCD in place of the target's.
        data: Inputs; None for random ones.
        samples: How many of them.
        seed: Seed of random inputs.
        dry_run: Only say what would be run.
    """

    bundle: Path
    target: str | None = None
    probe: str = "auto"
    configuration: tuple[str, ...] = ()
    data: str | None = None
    samples: int = 3
    seed: int = 0
    dry_run: bool = False

    def __post_init__(self) -> None:
        _one_of("--probe", self.probe, PROBE_PROGRAMS)
        make_paths(self, "bundle")
        if self.samples < 1:
            raise OptionError("At least one sample must be checked", where="--samples")


def parse_shape(text: str) -> InputShape:
    """Reads ``1,3,32,32`` or ``name=1,3,32,32`` (``x`` works as separator too).

    Raises:
        OptionError: If it is not a list of positive sizes, or absurdly large.
    """
    match = _SHAPE.fullmatch(text.strip())
    dims = tuple(int(size) for size in re.split(r"[,x]", match["dims"])) if match else ()
    elements = 1
    for size in dims:
        elements *= size
    if match is None or elements == 0 or elements > _MAX_ELEMENTS:
        raise OptionError(
            "The input shape is not a list of positive sizes of a reasonable total",
            where="--input-shape",
            found=repr(text),
            expected="sizes with the batch first, e.g. 1,3,32,32 or name=1,3,32,32",
            hint="Repeat the option for a model with several inputs.",
        )
    return InputShape(dims=dims, name=match["name"] or "")


def parse_size(text: str) -> int:
    """Reads a size in bytes: ``262144``, ``256k``, ``256KiB``, ``1.5M`` (1k = 1024 bytes).

    Raises:
        OptionError: If it is not a positive size.
    """
    match = _SIZE.fullmatch(text)
    factor = {"": 1, "k": 1024, "m": 1024 * 1024}[match[2].lower()] if match else 0
    size_bytes = int(float(match[1]) * factor) if match else 0
    if size_bytes <= 0:
        raise OptionError(
            "This is not a size in bytes", found=repr(text), expected="e.g. 262144, 256k or 256KiB"
        )
    return size_bytes


def parse_share(text: str) -> int | Literal["auto"]:
    """Reads a number of values, 2 to 64, or ``auto``.

    Raises:
        OptionError: If it is neither.
    """
    if text == "auto":
        return "auto"
    values = int(text) if text.isascii() and text.isdigit() else 0
    if not 2 <= values <= MOST_SHARED_VALUES:
        raise OptionError(
            "This is no number of values",
            found=repr(text),
            expected=f"2 to {MOST_SHARED_VALUES}, or auto",
        )
    return values


def parse_numbers(text: str) -> tuple[float, ...]:
    """Reads one number or several separated by commas.

    Raises:
        OptionError: If one of them is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            "This is not a list of numbers", found=repr(text), expected="e.g. 0.5 or 0.4,0.5,0.6"
        ) from error


def _one_of(option: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        names = ", ".join(str(choice) for choice in choices if choice is not None)
        raise OptionError(f"{option} has no such choice", found=repr(value), expected=names)


def _check_drop(points: float | None) -> None:
    """A drop that is not a number would be a gate that never closes."""
    if points is not None and not 0 <= points <= 100:
        raise OptionError(
            "--max-accuracy-drop must be a number of percentage points",
            where="--max-accuracy-drop",
            found=f"{points:g}",
            expected="0 to 100",
        )


def make_paths(options: object, *names: str) -> None:
    """Strings become paths: they are what most callers have at hand."""
    for name in names:
        value = getattr(options, name)
        if isinstance(value, str):
            object.__setattr__(options, name, Path(value))
