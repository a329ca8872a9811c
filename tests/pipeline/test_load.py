import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgefactor.errors import EdgefactorError, ModelError, OptionError
from edgefactor.pipeline.load import load
from tests.pipeline import networks

INPUT = (1, 3, 8, 8)

# Content of a file and what its error must say; no row may be loaded.
NO_MODELS: dict[str, tuple[bytes, str]] = {
    "empty.pt": (b"", "empty"),
    "text.pt": (b"just some words, no weights\n", "a text file"),
    "noise.pt": (bytes(range(200, 256)) * 4, "not a PyTorch model"),
    "model.onnx": (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(20), "TensorFlow Lite"),
    "model.safetensors": (b"\x40\x00\x00\x00\x00\x00\x00\x00{}", "safetensors.torch.load_file"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "Keras or HDF5"),
    "short.pt": (b"PK\x03\x04" + bytes(40), "damaged"),
}


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    return networks.program(folder / "net.pt2", networks.convolutional(), torch.zeros(INPUT))


@pytest.fixture
def factory(tmp_path: Path) -> str:
    file = tmp_path / "net_code.py"
    file.write_text("from tests.pipeline.networks import convolutional as build\n")
    return f"{file}:build"


def refused(path: Path, **options: Any) -> EdgefactorError:
    with pytest.raises(EdgefactorError) as caught:
        load(path, **options)
    return caught.value


def test_state_dict_with_factory(tmp_path: Path, factory: str) -> None:
    network = networks.convolutional()
    loaded = load(networks.pickled(tmp_path / "m.pt", network.state_dict()), factory=factory)
    assert loaded.kind == "state dict" and not loaded.module.training
    x = torch.ones(INPUT)
    assert torch.equal(loaded.module(x), network(x))


def test_state_dict_of_a_network_with_shared_values(tmp_path: Path, factory: str) -> None:
    state = networks.convolutional().state_dict()
    state["0.weight_scale"] = torch.arange(1.0, 5.0)
    loaded = load(networks.pickled(tmp_path / "m.pt", state), factory=factory)
    assert torch.equal(loaded.module.get_buffer("0.weight_scale"), state["0.weight_scale"])
    state["0.weight_scale"] = torch.ones(5)  # one a channel, and there are four
    error = refused(networks.pickled(tmp_path / "m.pt", state), factory=factory)
    assert "not in the module: 0.weight_scale" in error.found


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dict_of_old_and_new_files(tmp_path: Path, factory: str, legacy: bool) -> None:
    state = networks.convolutional().state_dict()
    assert load(networks.pickled(tmp_path / "m.pt", state, legacy=legacy), factory=factory)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_state_dict_in_checkpoint(tmp_path: Path, factory: str, key: str) -> None:
    state = {f"module.{n}": t for n, t in networks.convolutional().state_dict().items()}
    path = networks.pickled(tmp_path / "m.pt", {"epoch": 3, key: state, "best": 0.5})
    notes = " ".join(load(path, factory=factory).notes)
    assert f"'{key}'" in notes and "DataParallel" in notes


def test_pickled_module_of_torch_nn(tmp_path: Path) -> None:
    loaded = load(networks.pickled(tmp_path / "m.pt", networks.convolutional().train()))
    assert loaded.kind == "module" and not loaded.module.training


def test_torchscript(tmp_path: Path) -> None:
    network = networks.convolutional()
    loaded = load(networks.script(tmp_path / "m.pt", network))
    x = torch.ones(INPUT)
    assert loaded.kind == "TorchScript" and torch.equal(loaded.module(x), network(x))


def test_exported_program(program: Path) -> None:
    loaded = load(program)
    assert loaded.kind == "ExportedProgram" and loaded.example_inputs is not None
    assert loaded.example_inputs[0].shape == INPUT
    x = torch.ones(INPUT)
    assert torch.equal(loaded.module(x), networks.convolutional()(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(tmp_path: Path, factory: str, dtype: torch.dtype) -> None:
    network = networks.convolutional().to(dtype)
    for content, code in ((network, None), (network.state_dict(), factory)):
        loaded = load(networks.pickled(tmp_path / "m.pt", content), factory=code)
        assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
        assert [str(dtype) in note for note in loaded.notes] == [True]


@pytest.mark.parametrize("name", NO_MODELS)
def test_no_model(tmp_path: Path, name: str) -> None:
    content, words = NO_MODELS[name]
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name)
    assert isinstance(error, ModelError) and words in str(error) and name in error.where


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no such" in str(refused(tmp_path / "absent.pt"))
    assert "folder" in str(refused(tmp_path))


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_truncated_zip(tmp_path: Path, keep: float) -> None:
    path = networks.pickled(tmp_path / "m.pt", networks.convolutional().state_dict())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "damaged" in refused(path).message


def test_flipped_bit_in_weights(tmp_path: Path) -> None:
    path = networks.pickled(tmp_path / "m.pt", {"w": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(3000)) + 1500] ^= 1
    path.write_bytes(content)
    assert "checksum" in refused(path).message


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "protocol 4", "state dict"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, form: str) -> None:
    trap, path = tmp_path / "trap", tmp_path / "m.pt"
    payload = Payload(trap)
    if form in ("pickle", "protocol 4"):
        path.write_bytes(pickle.dumps(payload, protocol=2 if form == "pickle" else 4))
    else:
        content = {"w": torch.zeros(2), "x": payload} if form == "state dict" else payload
        networks.pickled(path, content, legacy=form == "legacy")
    error = refused(path)
    assert not trap.exists()
    assert "mkdir" in error.found and "--trust-pickle" in error.hint and "--model" in error.hint
    if form in ("zip", "state dict"):
        with pytest.raises(ModelError):
            load(path, trust_pickle=True)
        assert trap.exists(), "the payload is a real one"


def test_own_class_needs_trust(tmp_path: Path) -> None:
    path = networks.pickled(tmp_path / "m.pt", networks.Own())
    error = refused(path)
    assert "networks.Own" in error.found
    assert "torch.export.save" in error.hint and "state_dict" in error.hint
    assert load(path, trust_pickle=True).kind == "module"


def test_own_class_without_its_code(tmp_path: Path) -> None:
    path = networks.pickled(tmp_path / "m.pt", networks.Own())
    with zipfile.ZipFile(path) as archive:
        data = archive.read("m/data.pkl").replace(
            b"tests.pipeline.networks", b"tests.pipeline.nowhere1"
        )
    edited = networks.edit_zip(path, tmp_path / "n.pt", **{"m/data.pkl": data})
    assert "not importable" in refused(edited, trust_pickle=True).message


@pytest.mark.parametrize("attribute", ["hook", "forward"])
def test_torch_nn_module_with_foreign_attributes(tmp_path: Path, attribute: str) -> None:
    network = networks.convolutional()
    if attribute == "hook":
        network[0].__dict__["_forward_hooks"][0] = nn.ReLU
    else:
        network[0].__dict__["forward"] = nn.ReLU()
    error = refused(networks.pickled(tmp_path / "m.pt", network))
    assert "hooks or code" in error.message and "module 0" in error.where


def test_state_dict_without_factory(tmp_path: Path) -> None:
    path = networks.pickled(tmp_path / "m.pt", networks.convolutional().state_dict())
    error = refused(path)
    assert "9 tensors" in error.found and "0.weight [4, 3, 3, 3]" in error.found
    assert "--model" in error.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 1, "loss": 0.5}, "'epoch'"),
        (torch.zeros(3), "one tensor [3]"),
        ([1, 2], "a list"),
    ],
)
def test_pickle_without_a_model(tmp_path: Path, content: object, words: str) -> None:
    assert words in refused(networks.pickled(tmp_path / "m.pt", content)).found


def test_network_without_weights(tmp_path: Path, factory: str) -> None:
    path = networks.pickled(tmp_path / "m.pt", nn.Identity().state_dict())
    assert load(path, factory="torch.nn:Identity").kind == "state dict"
    assert "not in the file: 0.weight" in refused(path, factory=factory).found
    assert "no state dict" in refused(path).message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamic", [False, True])
def test_weights_that_pytorch_quantized(tmp_path: Path, factory: str, dynamic: bool) -> None:
    if dynamic:
        network = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 2)))
        state = network.state_dict()
    else:
        state = {"weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}
    error = refused(networks.pickled(tmp_path / "m.pt", state), factory=factory)
    assert "quantized by PyTorch" in error.message and "before" in error.hint


def test_state_dict_that_does_not_fit(tmp_path: Path, factory: str) -> None:
    state = networks.convolutional().state_dict()
    state["0.weight"] = torch.zeros(4, 1, 3, 3)
    state["extra.weight"] = state.pop("4.bias")
    error = refused(networks.pickled(tmp_path / "m.pt", state), factory=factory)
    assert "0.weight is [4, 1, 3, 3] in the file, [4, 3, 3, 3] in the module" in error.found
    assert "not in the file: 4.bias" in error.found
    assert "not in the module: extra.weight" in error.found


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("form", ["state dict", "module", "script", "program"])
def test_weights_that_are_no_numbers(tmp_path: Path, factory: str, form: str, value: float) -> None:
    network = networks.convolutional()
    network[4].weight.data[1, 7] = value
    path = tmp_path / "m.pt"
    if form == "script":
        networks.script(path, network)
    elif form == "program":
        path = networks.program(tmp_path / "m.pt2", network, torch.zeros(INPUT))
    else:
        networks.pickled(path, network.state_dict() if form == "state dict" else network)
    error = refused(path, factory=factory if form == "state dict" else None)
    assert "4.weight" in error.where and "1 of 1024" in error.found


FACTORIES = [
    ("", "no_such.py:build", OptionError, "no such Python file"),
    ("", "no_such_module_anywhere:build", OptionError, "no Python module"),
    ("", "no colon", OptionError, "does not name a function"),
    ("build = 3", "{file}:build", OptionError, "cannot be called"),
    ("def other(): pass", "{file}:build", OptionError, "is not there"),
    ("def build(): raise KeyError('depth')", "{file}:build", ModelError, "KeyError"),
    ("def build(depth): pass", "{file}:build", ModelError, "depth"),
    ("def build(): return 3", "{file}:build", ModelError, "no torch.nn.Module"),
    ("def build(:", "{file}:build", ModelError, "SyntaxError"),
    ("import no_such_package", "{file}:build", ModelError, "no_such_package"),
]


@pytest.mark.parametrize(("code", "reference", "kind", "words"), FACTORIES)
def test_wrong_factory(
    tmp_path: Path, code: str, reference: str, kind: type[EdgefactorError], words: str
) -> None:
    file = tmp_path / "wrong_factory.py"
    file.write_text(code)
    path = networks.pickled(tmp_path / "m.pt", networks.convolutional().state_dict())
    error = refused(path, factory=reference.format(file=file))
    assert isinstance(error, kind) and words in str(error)


# -- .pt2 archives that would make PyTorch unpickle or evaluate something -------------------------


def change_json(path: Path, target: Path, member: str, change: Any) -> Path:
    with zipfile.ZipFile(path) as archive:
        content = json.loads(archive.read(member))
    change(content)
    return networks.edit_zip(path, target, **{member: json.dumps(content).encode()})


def first_weight(config: Any) -> Any:
    return next(iter(config["config"].values()))


def guard(program: Any, trap: Path) -> None:
    program["guards_code"] = [f"__import__('os').mkdir({str(trap)!r})"]


def size_expression(program: Any, trap: Path) -> None:
    sizes = program["graph_module"]["graph"]["tensor_values"]["input"]["sizes"]
    sizes[0] = {"as_expr": {"expr_str": f"__import__('os').mkdir({str(trap)!r})", "hint": None}}


def node_target(program: Any, trap: Path) -> None:
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def argument_name(program: Any, trap: Path) -> None:
    arguments = program["graph_module"]["graph"]["nodes"][0]["inputs"]
    arguments[0]["name"] = "a=__import__('os').abort(), b"
    arguments[0]["kind"] = 2


def tree_import(program: Any, trap: Path) -> None:
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    spec = json.loads(signature["in_spec"])
    spec[1]["context"] = json.dumps({"__enum__": True, "fqn": "antigravity:x", "name": "x"})
    signature["in_spec"] = json.dumps(spec)


def printing_operator(program: Any, trap: Path) -> None:
    program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten._print.default"


PROGRAM_ATTACKS = [size_expression, node_target, argument_name, tree_import, printing_operator]


@pytest.mark.parametrize("attack", PROGRAM_ATTACKS)
def test_program_that_would_be_evaluated(tmp_path: Path, program: Path, attack: Any) -> None:
    trap = tmp_path / "trap"
    path = change_json(
        program, tmp_path / "m.pt2", "net/models/model.json", lambda c: attack(c, trap)
    )
    error = refused(path)
    assert "not loaded" in error.message and "--trust-pickle" in error.hint
    assert not trap.exists()
    if attack is size_expression:
        with pytest.raises(ModelError):
            load(path, trust_pickle=True)
        assert trap.exists(), "the payload is a real one"


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("decomposed", [False, True])
def test_program_with_operators_of_pytorchs_own(tmp_path: Path, decomposed: bool) -> None:
    """Their names start with an underscore; weight norm, soft-max and views become such."""
    network = torch.nn.Sequential(
        torch.nn.utils.weight_norm(torch.nn.Conv2d(3, 4, 3)),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(5),
        torch.nn.Softmax(1),
    )
    x = torch.rand(INPUT)
    expected = network(x)
    program = torch.export.export(network, (x,))
    if decomposed:
        program = program.run_decompositions()
    used = {str(node.target) for node in program.graph.nodes}
    assert any(name.startswith("aten._") for name in used)
    torch.export.save(program, tmp_path / "m.pt2")
    torch.testing.assert_close(load(tmp_path / "m.pt2").module(x), expected)


def test_guards_of_a_program_are_dropped(tmp_path: Path, program: Path) -> None:
    trap = tmp_path / "trap"
    member = "net/models/model.json"
    path = change_json(program, tmp_path / "m.pt2", member, lambda c: guard(c, trap))
    load(path).module(torch.zeros(INPUT))
    assert not trap.exists()


def test_pickled_weight_in_a_program(tmp_path: Path, program: Path) -> None:
    member = "net/data/weights/model_weights_config.json"
    path = change_json(
        program, tmp_path / "m.pt2", member, lambda c: first_weight(c).update(use_pickle=True)
    )
    assert "stored as a pickle" in refused(path).message


def test_constant_that_is_an_object(tmp_path: Path, program: Path) -> None:
    member = "net/data/constants/model_constants_config.json"
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False}
    path = change_json(program, tmp_path / "m.pt2", member, lambda c: c["config"].update(c=entry))
    assert "opaque_obj_0" in refused(path).message


def test_code_in_sample_inputs(tmp_path: Path, program: Path) -> None:
    trap = tmp_path / "trap"
    sample = networks.pickled(tmp_path / "s.pt", ((Payload(trap),), {})).read_bytes()
    member = "net/data/sample_inputs/model.pt"
    path = networks.edit_zip(program, tmp_path / "m.pt2", **{member: sample})
    assert "sample inputs" in refused(path).message
    assert not trap.exists()


def test_names_that_differ_in_case_only(tmp_path: Path, program: Path) -> None:
    path = networks.edit_zip(program, tmp_path / "m.pt2", **{"net/MODELS/model.json": b"{}"})
    assert "member names" in refused(path).message


def test_dynamic_batch(tmp_path: Path) -> None:
    network = networks.convolutional()
    path = networks.program(tmp_path / "m.pt2", network, torch.zeros(2, 3, 8, 8), dynamic=True)
    x = torch.ones(INPUT)
    assert torch.allclose(load(path).module(x), network(x))
