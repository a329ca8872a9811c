"""Opens a .pt2 archive without giving code in it a chance to run.

`torch.export.load` trusts its file: weights and constants may be pickles, sample inputs fall back
to full unpickling, sizes are expressions that sympy evaluates, guards are Python source, and names
end up in generated code. So the archive is checked member by member here, and what is handed to
PyTorch is a fresh archive in memory that holds only what was checked.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import torch

from edgefactor.errors import ModelError
from edgefactor.pipeline.files.formats import Format, ModelFile
from edgefactor.pipeline.files.program_json import Unsafe, clean_program

_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_SAMPLE = "data/sample_inputs/model.pt"
_PROGRAM = "models/model.json"
_COPIED = ("archive_format", "archive_version", "byteorder", ".data/version")


def checked_archive(file: ModelFile) -> io.BytesIO:
    """A copy of the .pt2 that holds no pickle, no code and no path, ready for `torch.export.load`.

    Raises:
        ModelError: If the file needs unpickling or evaluating anything; the message says what.
    """
    if file.format is Format.OLD_EXPORTED_PROGRAM:
        raise _refusal(file, "its weights are pickled, as PyTorch before 2.8 wrote them")
    try:
        with zipfile.ZipFile(file.path) as archive:
            return _copy(file, archive)
    except Unsafe as error:
        raise _refusal(file, str(error)) from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            "The .pt2 archive is not laid out as torch.export.save writes it",
            where=str(file.path),
            found=f"{type(error).__name__}: {error}",
            hint="Save it again with torch.export.save of a current PyTorch (2.8 or later).",
        ) from error


def _copy(file: ModelFile, archive: zipfile.ZipFile) -> io.BytesIO:
    prefix = f"{file.root}/" if file.root else ""

    def read(member: str) -> bytes:
        return archive.read(prefix + member)

    present = set(file.members)
    models = [name for name in present if name.startswith("models/")]
    if models != [_PROGRAM]:
        raise Unsafe(f"it holds other programs than one named 'model': {sorted(models)}")
    if any(name.startswith("data/aotinductor/") for name in present):
        raise Unsafe("it holds compiled libraries (AOTInductor)")
    kept = [name for name in _COPIED if name in present]
    contents = {name: read(name) for name in kept}
    contents[_PROGRAM] = json.dumps(clean_program(json.loads(read(_PROGRAM)))).encode()
    for config, stem in ((_WEIGHTS, "weight_"), (_CONSTANTS, "tensor_")):
        if config not in present:
            raise Unsafe(f"{config.rsplit('/', 1)[1]} is missing, so tensors would be pickled")
        entries = json.loads(read(config))
        contents[config] = json.dumps(entries).encode()
        for path in _payload_paths(entries, stem):
            member = f"{config.rsplit('/', 1)[0]}/{path}"
            contents[member] = read(member)
    contents[_SAMPLE] = _plain_samples(read(_SAMPLE) if _SAMPLE in present else b"")
    return _zip(contents)


def _payload_paths(config: dict[str, Any], stem: str) -> list[str]:
    paths: list[str] = []
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False:
            raise Unsafe(f"the tensor {name!r} is stored as a pickle")
        path = entry["path_name"]
        if not (path.startswith(stem) and path[len(stem) :].isdigit()):
            raise Unsafe(f"{name!r} is stored as {path!r}, which is no tensor")
        if path not in paths:
            paths.append(path)
    return paths


def _plain_samples(data: bytes) -> bytes:
    """The sample inputs once more, so that only what the safe unpickler accepts is written."""
    if not data:
        return b""
    try:
        samples = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:
        # Whatever the restricted unpickler objects to, the answer is the same.
        raise Unsafe("its sample inputs are a pickle that names code") from error
    out = io.BytesIO()
    torch.save(samples, out)
    return out.getvalue()


def _zip(contents: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in contents.items():
            archive.writestr(f"model/{name}", data)
    out.seek(0)
    return out


def _refusal(file: ModelFile, reason: str) -> ModelError:
    return ModelError(
        f"This .pt2 is not loaded, because {reason}",
        where=str(file.path),
        hint="Save it again with torch.export.save of a current PyTorch; or, if you trust whoever "
        "made the file, pass --trust-pickle.",
    )
