"""What a user can ask of one compression, as plain data; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgefactor.errors import OptionError
from edgefactor.pipeline.config import ModelOptions, Normalization, make_paths


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions(ModelOptions):
    """One compression.

    Attributes:
        recipe: A shipped recipe's name, or a TOML file.
        train: Training data, or calibration inputs without labels; None if no step needs data.
        data: Evaluation data; None to evaluate on the training data.
        output: The result, a .pt2; None for ``<model>-small.pt2`` in the working folder.
        normalization: From stored values to model inputs, for both kinds of data.
        target: What sizes and costs are judged for; "" for none.
        checkpoints: Folder of the checkpoints; None for one beside the output.
        keep_checkpoints: Whether they stay after success.
        seed: Of everything random.
    """

    recipe: str
    train: str | None = None
    data: str | None = None
    output: Path | None = None
    normalization: Normalization = field(default_factory=Normalization)
    target: str = ""
    checkpoints: Path | None = None
    keep_checkpoints: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        make_paths(self, "model", "output", "checkpoints")
        if self.result.suffix != ".pt2":
            raise OptionError(
                "The compressed model is written as .pt2",
                where="--output",
                found=str(self.result),
                expected="a name that ends in .pt2",
            )
        if not self.result.absolute().parent.is_dir():
            raise OptionError("There is no such folder", where=f"--output {self.result.parent}")

    @property
    def result(self) -> Path:
        """The file that will be written."""
        return self.output or Path(f"{self.model.stem}-small.pt2")

    @property
    def checkpoint_folder(self) -> Path:
        """Where trainings are saved while they run."""
        return self.checkpoints or self.result.with_name(f"{self.result.name}.checkpoints")
