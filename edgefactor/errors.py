"""The errors a user can do something about, one class for each kind of remedy.

Every message answers four questions: where it happened, what was found there, what was expected,
and what to do next. The command line prints them and exits with code 1; the Python API raises them.
"""

from __future__ import annotations


class EdgefactorError(Exception):
    """Base class of all errors that edgefactor raises on purpose.

    Attributes:
        message: One sentence that says what went wrong.
        where: The file, node, tensor or option concerned; empty if the message says it.
        found: What was there.
        expected: What should have been there.
        hint: The next step for the user.
    """

    kind = "error"

    def __init__(
        self, message: str, *, where: str = "", found: str = "", expected: str = "", hint: str = ""
    ) -> None:
        self.message = message
        self.where = where
        self.found = found
        self.expected = expected
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        details = (
            ("where", self.where),
            ("found", self.found),
            ("expected", self.expected),
            ("try", self.hint),
        )
        lines = [self.message, *(f"  {label}: {text}" for label, text in details if text)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, str]:
        """The error as plain data, for ``--json``."""
        return {
            "error": self.kind,
            "message": self.message,
            "where": self.where,
            "found": self.found,
            "expected": self.expected,
            "hint": self.hint,
        }


class ModelError(EdgefactorError):
    """The model file or the code that builds the model cannot be used as it is."""

    kind = "model"


class UnsupportedOperatorError(EdgefactorError):
    """The model holds an operator, or a form of one, that has no integer implementation here."""

    kind = "unsupported-operator"


class DataError(EdgefactorError):
    """Calibration or evaluation data cannot be read or does not fit the model."""

    kind = "data"


class OptionError(EdgefactorError):
    """An option of the command or an argument of the API has no meaning here."""

    kind = "option"


class TargetError(EdgefactorError):
    """The target is unknown or its description is wrong."""

    kind = "target"


class ToolError(EdgefactorError):
    """A program that edgefactor calls is missing, failed, or ran out of time."""

    kind = "tool"


class MissingToolError(ToolError):
    """A program or package is not installed; what does not need it still works."""

    kind = "missing-tool"


def missing_package(error: ModuleNotFoundError) -> MissingToolError:
    """The error of a Python package that edgefactor itself needs and cannot import."""
    package = (error.name or "").partition(".")[0].replace("_", "-")
    return MissingToolError(
        f"The Python package {package} is not installed",
        found=str(error),
        hint=f"pip install {package}",
    )


class BudgetError(EdgefactorError):
    """The result does not fit the flash, RAM, instruction or accuracy budget."""

    kind = "budget"


class ParityError(EdgefactorError):
    """Two runtimes that must agree do not."""

    kind = "parity"
