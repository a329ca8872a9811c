"""The MicroNet score: networks rebuilt from their papers, and the official rules by hand."""

import itertools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgefactor import cli
from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.micronet import TASKS, count_lectures, micronet
from edgefactor.pipeline.compress.micronet_official import count_official, stored_bits
from edgefactor.pipeline.config import MICRONET_TASKS
from edgefactor.pipeline.load import LoadedModel

IMAGE = (torch.zeros(1, 3, 32, 32),)


def unit(inputs, outputs, size, stride=1, groups=1):
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else unit(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.skip(x))


class Net(nn.Module):
    """Units with functional activations, average pool, dense layer."""

    def __init__(self, units, pool, width):
        super().__init__()
        self.units = nn.ModuleList(units)
        self.pool, self.head = pool, nn.Linear(width, 10)

    def forward(self, x):
        for part in self.units:
            x = F.relu(part(x))
        return self.head((self.pool(x) if self.pool else x.mean((2, 3))).flatten(1))


def resnet(widths, blocks, pool):
    units = [unit(3, widths[0], 3)]
    channels = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            units.append(Residual(channels, width, 2 if stage and not block else 1))
            channels = width
    return Net(units, nn.AvgPool2d(pool), channels)


def mobilenet(scale):
    widths = [64, (128, 2), 128, (256, 2), 256, (512, 2), *[512] * 5, (1024, 2), 1024]
    channels = int(32 * scale)
    units = [unit(3, channels, 3)]
    for entry in widths:
        width, stride = entry if isinstance(entry, tuple) else (entry, 1)
        units += [
            unit(channels, channels, 3, stride, channels),
            unit(channels, int(width * scale), 1),
        ]
        channels = int(width * scale)
    return Net(units, nn.AvgPool2d(2), channels)


def ds_cnn():
    blocks = itertools.chain.from_iterable(
        (unit(64, 64, 3, groups=64), unit(64, 64, 1)) for _ in range(4)
    )
    return Net([unit(3, 64, 3, 2), *blocks], None, 64)


#: Network, parameters, score by the lectures' profile at 16 bits.
LECTURES = {
    "ResNet-18": (lambda: resnet((64, 128, 256, 512), 2, 4), 11_173_962, 2.0000),
    "ResNet-20": (lambda: resnet((16, 32, 64), 3, 8), 272_474, 0.0982),
    "MobileNet": (lambda: mobilenet(1.0), 3_217_226, 0.3724),
    "MobileNet 0.25": (lambda: mobilenet(0.25), 215_642, 0.0256),
    "DS-CNN": (ds_cnn, 22_218, 0.0118),
}


@pytest.mark.parametrize(("build", "parameters", "score"), LECTURES.values(), ids=LECTURES.keys())
def test_profile_of_the_lectures(build, parameters, score):
    model = build()
    assert sum(p.numel() for p in model.parameters()) == parameters
    count = count_lectures(model, IMAGE)
    task = TASKS["cifar10"]
    storage = count.parameters / task.parameters
    operations = (count.multiplies + count.additions) / task.operations
    assert round(storage + operations, 4) == score


def test_resnet_18_to_the_operation():
    model = resnet((64, 128, 256, 512), 2, 4)
    for weight in model.parameters():
        nn.init.ones_(weight)  # among 11 million random ones a 0 turns up, which is not counted
    count = count_lectures(model, IMAGE)
    assert count.multiplies + count.additions == 834_364_918
    assert count.parameters == TASKS["cifar10"].parameters


def loaded(*modules) -> LoadedModel:
    return LoadedModel(kind="module", program=nn.Sequential(*modules).eval())


def test_official_rules_by_hand():
    torch.manual_seed(0)
    model = loaded(nn.Conv2d(2, 4, 3, bias=True), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
                   nn.Linear(4, 3))  # fmt: skip
    count, notes = count_official(model, (torch.zeros(1, 2, 6, 6),))
    outputs = 4 * 4 * 4
    multiplies = outputs * 18 + outputs + 4 + 3 * 4  # window, ReLU, mean, dense
    additions = outputs * 17 + outputs + 4 * 15 + 3 * 3 + 3
    # 16 bits for what is multiplied and stored, never for additions.
    assert count.multiplies == multiplies / 2
    assert count.additions == additions
    assert count.parameters == (72 + 4 + 12 + 3) / 2
    assert "16 bits" in notes[-1]


def test_zeros_cost_a_mask_and_save_products():
    layer = nn.Linear(64, 8, bias=False)
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(8, 64))
        layer.weight[:, 16:] = 0
    count, _ = count_official(loaded(layer), (torch.zeros(1, 64),))
    assert count.parameters == (8 * 16 * 16 + 512) / 32
    assert count.multiplies == 8 * 16 / 2
    assert count.additions == 8 * 15


def test_a_codebook_ends_the_free_16_bits():
    layer = nn.Linear(64, 32)
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(1, 5, layer.weight.shape).float())
    count, notes = count_official(loaded(layer), (torch.zeros(1, 64),))
    assert count.parameters == (2048 * 2 + 4 * 32 + 32 * 32) / 32
    assert count.multiplies == 2048
    assert "below 16 bits" in notes[-1]


def test_stored_bits_takes_the_smallest_way():
    dense = torch.arange(1.0, 1025.0).reshape(32, 32)
    assert stored_bits(dense, 32) == 1024 * 32
    sparse = dense * (dense % 8 == 0)
    assert stored_bits(sparse, 32) == 128 * 32 + 1024
    assert stored_bits(torch.ones(5), 16) == 80


def test_batch_norm_folds_into_one_offset_a_channel():
    model = loaded(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4))
    count, notes = count_official(model, (torch.zeros(1, 2, 6, 6),))
    assert count.parameters == (72 + 4) / 2
    assert count.additions == 64 * 17 + 64
    assert "folded" in notes[0]


def test_tasks_of_the_command_line():
    assert tuple(TASKS) == MICRONET_TASKS
    with pytest.raises(OptionError, match="no such MicroNet task"):
        micronet(loaded(nn.Linear(2, 2)), (torch.zeros(1, 2),), "mnist")


@pytest.mark.parametrize("task", MICRONET_TASKS)
def test_command(task, tmp_path, capsys):
    path = tmp_path / "net.pt"
    torch.save(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 10)), path
    )
    arguments = ["inspect", str(path), "--input-shape", "1,3,32,32", "--micronet", task]
    assert cli.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["task"] == task
    rules = [score["rules"] for score in found["scores"]]
    assert rules == (["official"] if task == "imagenet" else ["official", "lectures"])
    for score in found["scores"]:
        assert score["score"] == pytest.approx(score["storage_score"] + score["operations_score"])
    assert cli.main(arguments) == 0
    assert "official" in capsys.readouterr().out
