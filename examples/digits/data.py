"""Real data for the example: the 1,797 handwritten digits that come with scikit-learn.

    python examples/digits/data.py FOLDER

writes the two files that the export takes, with arrays laid out as the PyTorch model takes them:
calibration.npz (x) and test.npz (x and the labels y). An export also takes the functions
themselves: ``--calibration examples/digits/data.py:calibration``.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

# In the order of the set, other people wrote the last digits: no writer is in both parts.
TEST_IMAGES = 500
CALIBRATION_IMAGES = 200


def load() -> tuple[Images, Labels, Images, Labels]:
    """Training images [1297, 1, 8, 8] and labels, then the test images and labels."""
    images, labels = load_digits(return_X_y=True)
    x = images.astype(np.float32).reshape(-1, 1, 8, 8)
    y = labels.astype(np.int64)
    return x[:-TEST_IMAGES], y[:-TEST_IMAGES], x[-TEST_IMAGES:], y[-TEST_IMAGES:]


def calibration() -> list[Images]:
    """Some hundred training images, from which an export finds the range of every tensor."""
    x_train, _, _, _ = load()
    return [x_train[:CALIBRATION_IMAGES]]


def test() -> list[tuple[Images, Labels]]:
    """The test images and their labels."""
    _, _, x_test, y_test = load()
    return [(x_test, y_test)]


def write(folder: Path) -> None:
    """Write calibration.npz and test.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "calibration.npz", x=calibration()[0])
    ((x_test, y_test),) = test()
    np.savez_compressed(folder / "test.npz", x=x_test, y=y_test)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
