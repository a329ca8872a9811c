"""Programs and folders that tests need and a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
"""Trained models and data for development, beside the checkout; not part of the repository."""


def require_tool(name: str) -> str:
    """Path of a program; without it the test skips on a laptop and fails under CI=true."""
    path = shutil.which(name)
    if path is not None:
        return path
    message = f"{name} is not installed; `make test` installs it on Debian"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
