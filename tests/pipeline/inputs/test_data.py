from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefactor.errors import DataError, OptionError
from edgefactor.pipeline.config import Normalization
from edgefactor.pipeline.inputs.data import Dataset, check_labels, random_data, read

SHAPES = ((1, 3, 8, 6),)
RNG = np.random.default_rng(5)
X = RNG.standard_normal((7, 3, 8, 6)).astype(np.float32)
Y = np.arange(7) % 4


def saved(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def refused(place: str, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        read(place, **({"shapes": SHAPES} | options))
    return caught.value


def test_arrays_x_and_y(tmp_path: Path) -> None:
    data = read(saved(tmp_path / "d.npz", x=X, y=Y), shapes=SHAPES)
    assert np.array_equal(data.inputs[0], X) and data.labels is not None
    assert np.array_equal(data.labels, Y) and data.labels.dtype == np.int64
    assert (data.samples, data.source, data.random) == (7, "d.npz", False)
    assert data.shapes == SHAPES and data.sample(2)[0].shape == (1, 3, 8, 6)
    assert data.take(3).samples == 3


def test_the_only_array(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "d.npz", images=X), shapes=SHAPES).labels is None
    np.save(tmp_path / "d.npy", X)
    assert np.array_equal(read(str(tmp_path / "d.npy")).inputs[0], X)


def test_several_inputs_by_name(tmp_path: Path) -> None:
    place = saved(tmp_path / "d.npz", b=X[:, 0], a=X, y=Y)
    data = read(place, names=("a", "b"), shapes=((1, 3, 8, 6), (1, 8, 6)))
    assert np.array_equal(data.inputs[1], X[:, 0]) and data.labels is not None


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.float16, np.bool_])
def test_numbers_become_float32(tmp_path: Path, dtype: Any) -> None:
    values = np.arange(7 * 144).reshape(7, 3, 8, 6).astype(dtype)
    inputs = read(saved(tmp_path / "d.npz", x=values), shapes=SHAPES).inputs
    assert inputs[0].dtype == np.float32 and np.array_equal(inputs[0], values.astype(np.float32))


def test_limit(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "d.npz", x=X, y=Y), limit=4).samples == 4


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "channels last": ({"x": X.transpose(0, 2, 3, 1)}, "x.transpose(0, 3, 1, 2)"),
    "other size": ({"x": X[:, :, :5]}, "[7, 3, 5, 6]"),
    "one sample": ({"x": X[0]}, "x[None]"),
    "flat": ({"x": X.reshape(7, -1)}, "reshape(-1, 3, 8, 6)"),
    "NaN": ({"x": np.where(np.arange(7)[:, None, None, None] == 4, np.nan, X)}, "sample 4"),
    "too large": ({"x": np.full((1, 3, 8, 6), 1e300)}, "NaN or infinite"),
    "empty": ({"x": X[:0]}, "no samples"),
    "scalar": ({"x": np.float32(3)}, "no samples"),
    "text": ({"x": np.array(["a", "b"])}, "do not hold numbers|does not hold numbers"),
    "objects": ({"x": np.array([{}, 1], dtype=object)}, "not loaded"),
    "complex": ({"x": X.astype(np.complex64)}, "complex64"),
    "other names": ({"train": X, "test": X}, "train, test"),
    "fewer labels": ({"x": X, "y": Y[:5]}, "[7], one class index"),
    "one-hot labels": ({"x": X, "y": np.eye(4)[Y]}, "argmax"),
    "label fractions": ({"x": X, "y": Y + 0.5}, "class indices"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_wrong_arrays(tmp_path: Path, name: str) -> None:
    arrays, words = BAD_ARRAYS[name]
    error = refused(saved(tmp_path / "d.npz", **arrays))
    assert any(word in str(error) for word in words.split("|")), str(error)


def test_missing_channel_axis(tmp_path: Path) -> None:
    error = refused(saved(tmp_path / "d.npz", x=X[:, 0]), shapes=((1, 1, 8, 6),))
    assert "x[:, None]" in error.hint


def test_wrong_files(tmp_path: Path) -> None:
    assert "no such data file" in refused(str(tmp_path / "absent.npz")).message
    (tmp_path / "text.npz").write_text("words")
    assert "cannot be read" in refused(str(tmp_path / "text.npz")).message
    whole = Path(saved(tmp_path / "d.npz", x=X)).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refused(str(tmp_path / "half.npz")).message


def test_float_labels_and_columns(tmp_path: Path) -> None:
    data = read(saved(tmp_path / "d.npz", x=X, y=Y[:, None].astype(np.float64)))
    assert data.labels is not None and np.array_equal(data.labels, Y)


@pytest.mark.parametrize("label", [-1, 4])
def test_label_out_of_range(label: int) -> None:
    data = Dataset(inputs=(X,), labels=np.array([0, 1, label, 3, 0, 1, 2]))
    with pytest.raises(DataError, match="not a class") as caught:
        check_labels(data, 4)
    assert "sample 2" in caught.value.where and caught.value.expected == "0 to 3"


# -- normalization ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Normalization(scale=0.5), X * np.float32(0.5)),
        (Normalization(mean=(0.25,), std=(2.0,)), (X - np.float32(0.25)) / np.float32(2)),
        (
            Normalization(mean=(1, 2, 3), std=(4, 5, 6)),
            (X - np.float32([1, 2, 3]).reshape(1, 3, 1, 1))
            / np.float32([4, 5, 6]).reshape(1, 3, 1, 1),
        ),
    ],
)
def test_normalization(tmp_path: Path, how: Normalization, expected: Any) -> None:
    data = read(saved(tmp_path / "d.npz", x=X), normalization=how)
    assert np.allclose(data.inputs[0], expected, rtol=1e-6) and data.inputs[0].dtype == np.float32


def test_normalization_of_other_channels(tmp_path: Path) -> None:
    error = refused(saved(tmp_path / "d.npz", x=X), normalization=Normalization(mean=(1, 2)))
    assert "1 or 3" in error.expected


@pytest.mark.parametrize("wrong", [{"std": (0.0,)}, {"scale": 0.0}, {"mean": (float("nan"),)}])
def test_senseless_normalization(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Normalization(**wrong)


# -- images ----------------------------------------------------------------------------------------


def paint(folder: Path, name: str, shape: tuple[int, ...] = (8, 6, 3), value: int = 0) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(folder / name)


def test_images_in_classes(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog", "owl")):
        for index in range(2):
            paint(tmp_path / name, f"{index}.png", value=label * 10 + index)
    data = read(str(tmp_path), shapes=SHAPES)
    assert data.inputs[0].shape == (6, 3, 8, 6)
    assert data.labels is not None and data.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.inputs[0][:, 0, 0, 0].tolist() == [0, 10, 20, 1, 11, 21]


def test_images_without_classes(tmp_path: Path) -> None:
    paint(tmp_path, "b.png", value=2)
    paint(tmp_path, "a.bmp", value=1)
    data = read(str(tmp_path))
    assert data.labels is None and data.inputs[0][:, 0, 0, 0].tolist() == [1, 2]


def test_colour_becomes_grey_where_the_model_takes_one_channel(tmp_path: Path) -> None:
    paint(tmp_path, "a.png", value=7)
    assert read(str(tmp_path), shapes=((1, 1, 8, 6),)).inputs[0].shape == (1, 1, 8, 6)


def test_wrong_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(str(tmp_path / "empty")).message
    paint(tmp_path / "size", "a.png", (9, 6, 3))
    error = refused(str(tmp_path / "size"))
    assert "9 x 6" in error.found and "8 x 6" in error.expected and "a.png" in error.where
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    assert "cannot be read" in refused(str(tmp_path / "broken")).message


# -- functions -------------------------------------------------------------------------------------

CODE = """
import numpy as np
X = np.arange(7 * 144, dtype=np.float32).reshape(7, 3, 8, 6)
Y = np.arange(7)
def arrays(): return X, Y
def array(): return X
def samples(): return list(zip(X, Y))
def batches(): return [(X[:4], Y[:4]), (X[4:], Y[4:])]
def endless():
    while True:
        yield X, Y
def plain(): return iter([X[:3], X[3:]])
def named(): return [{"x": X, "y": Y}]
def tensors():
    import torch
    return [(torch.from_numpy(X), torch.from_numpy(Y))]
def wrong(): return 3
def fails():
    yield X, Y
    raise RuntimeError("disk on fire")
def none(): return []
def ragged(): return [X, X[:, :, :4]]
"""


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], str]:
    file = tmp_path / "data_code.py"
    file.write_text(CODE)
    return lambda name: f"{file}:{name}"


@pytest.mark.parametrize(
    "name", ["arrays", "array", "samples", "batches", "plain", "named", "tensors"]
)
def test_function(code: Callable[[str], str], name: str) -> None:
    data = read(code(name), shapes=SHAPES)
    assert np.array_equal(data.inputs[0].reshape(-1), np.arange(7 * 144))
    if name not in ("array", "plain"):
        assert data.labels is not None and data.labels.tolist() == list(range(7))
    assert data.source == f"data_code.py:{name}"


def test_endless_function_stops(code: Callable[[str], str]) -> None:
    assert read(code("endless"), shapes=SHAPES, limit=50).samples == 50


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong", "a int"),
        ("fails", "disk on fire"),
        ("none", "no samples"),
        ("ragged", "different shapes"),
    ],
)
def test_wrong_function(code: Callable[[str], str], name: str, words: str) -> None:
    assert words in str(refused(code(name), shapes=None))


def test_function_that_is_not_there(code: Callable[[str], str]) -> None:
    with pytest.raises(OptionError, match="not there"):
        read(code("absent"))


def test_random_data() -> None:
    first, again, other = (random_data(SHAPES, 5, seed) for seed in (1, 1, 2))
    assert first.random and first.inputs[0].shape == (5, 3, 8, 6)
    assert np.array_equal(first.inputs[0], again.inputs[0])
    assert not np.array_equal(first.inputs[0], other.inputs[0])


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="folder cannot be read"):
        read(str(tmp_path))
