"""What all tests share: the `shared` marker and the folder that it stands for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tools import SHARED

# The same examples in every CI run; elsewhere new ones each time, which finds more.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `shared` where the folder is not there."""
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason=f"no folder {SHARED}"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with `models` and `data`; a test that asks for it is marked `shared`."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED}")
    return SHARED
