"""How torchvision and timm write networks: each idiom exports unchanged and runs everywhere alike.

A table of small functions and modules; they are traced together, as tracing takes a second however
small the network, and one by one under ``slow``.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval, parametrizations

from edgefactor.export.ir import Graph
from edgefactor.pipeline.float_stages import float_stages
from edgefactor.pipeline.inputs.example import choose_inputs
from edgefactor.pipeline.load import load
from tests.export.graphs import lowered
from tests.export.ops.every_runtime import check_everywhere
from tests.pipeline.networks import give_statistics, program
from tests.zoo.together import Shape, Together, normal_inputs, steps_from_torch

#: How far from PyTorch an output may be, in steps of its scale.
MOST_STEPS = 8.0
MAP: Shape = (1, 4, 8, 8)
Made = Callable[[], nn.Module]


class Function(nn.Module):
    """A convolution, then what is tested, so that it meets a channels-last map."""

    def __init__(self, function: Callable[[Tensor], object], channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(self.conv(x))


class ConvNormAct(nn.Sequential):
    """As timm and torchvision.ops.misc name it."""

    def __init__(self, i: int, o: int, act: nn.Module, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(i, o, 3, stride, 1, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(o), act)


class Residual(nn.Module):
    """timm: ``x = block(x) + shortcut`` with a residual that is kept aside, activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(4, 4, nn.ReLU(inplace=True))
        self.conv2 = ConvNormAct(4, 4, nn.Identity())
        self.act = nn.ReLU(inplace=True)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.drop_path(self.conv2(self.conv1(x)))
        x += shortcut
        return self.act(x)


class Branches(nn.Module):
    """GoogLeNet: branches with a pool among them, concatenated through a list."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(4, 2, 1),
                nn.Sequential(nn.Conv2d(4, 2, 1), nn.Conv2d(2, 3, 3, padding=1)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 2, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self.branches]
        return torch.cat(outputs, dim=1)


class ShuffleUnit(nn.Module):
    """torchvision's ShuffleNetV2: half of the channels pass, then both halves are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = ConvNormAct(2, 2, nn.ReLU(inplace=True), groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)
        out = torch.cat((x1, self.branch(x2)), dim=1)
        n, channels, height, width = out.size()
        out = out.view(n, 2, channels // 2, height, width)
        return torch.transpose(out, 1, 2).contiguous().view(n, channels, height, width)


class SqueezeExcitation(nn.Module):
    """torchvision.ops.SqueezeExcitation."""

    def __init__(self, gate: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.activation, self.scale_activation = nn.ReLU(), gate()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        return self.scale_activation(scale) * x


class ChannelAttention(nn.Module):
    """timm's CBAM: means and maxima through the same layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(4, 2, 1, bias=False), nn.Conv2d(2, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        peak = self.fc2(F.relu(self.fc1(x.amax((2, 3), keepdim=True))))
        return x * (mean + peak).sigmoid()


def weight_norm() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(4, 3, 3)), nn.ReLU())


def spectral_norm() -> nn.Module:
    return parametrizations.spectral_norm(nn.Linear(8, 3))


def fused() -> nn.Module:
    block = ConvNormAct(4, 4, nn.ReLU())
    give_statistics(block)
    return nn.Sequential(fuse_conv_bn_eval(block[0], block[1]), nn.ReLU6())


def layered() -> nn.Module:
    """Sequential in Sequential, with norms, identities and dropout of all kinds."""
    return give_statistics(
        nn.Sequential(
            nn.Sequential(ConvNormAct(4, 4, nn.Hardswish(inplace=True)), nn.Dropout2d(0.1)),
            nn.Sequential(nn.Sequential(ConvNormAct(4, 6, nn.SiLU(inplace=True), 2))),
            nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1)),
            nn.Sequential(nn.Dropout(0.2, inplace=True), nn.Linear(6, 3)),
        )
    )


def activation(make: Callable[[], nn.Module]) -> Made:
    return lambda: nn.Sequential(nn.Conv2d(4, 4, 1), make())


def function(apply: Callable[[Tensor], object]) -> Made:
    return lambda: Function(apply)


def upsampled(*numbers: int, **options: int) -> Made:
    return lambda: nn.ConvTranspose2d(*numbers, **options)


def patches(x: Tensor) -> Tensor:
    """einops: ``rearrange(x, "b c (h p) (w q) -> b (h w) (p q c)", p=2, q=2)``."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(b, h // 2 * (w // 2), 4 * c)


def space_to_depth(x: Tensor) -> Tensor:
    """YOLOv5's Focus."""
    quarters = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
    return torch.cat(quarters, 1)


IDIOMS: dict[str, tuple[Made, Shape]] = {
    "adaptive pool to 2 x 4": (activation(lambda: nn.AdaptiveAvgPool2d((2, 4))), MAP),
    "adaptive pool keeping rows": (activation(lambda: nn.AdaptiveAvgPool2d((None, 1))), MAP),
    "adaptive maximum to 4 x 2": (activation(lambda: nn.AdaptiveMaxPool2d((4, 2))), MAP),
    "adaptive pool of a line": (lambda: nn.AdaptiveAvgPool1d(4), (1, 3, 12)),
    "functional pools": (function(lambda x: F.max_pool2d(F.avg_pool2d(x, 2), 3, 1, 1)), MAP),
    "functional head": (
        function(lambda x: torch.flatten(F.adaptive_avg_pool2d(x, 1), 1).softmax(1)),
        MAP,
    ),
    "einops patches": (function(patches), MAP),
    "focus": (function(space_to_depth), MAP),
    "mean([2, 3])": (function(lambda x: x.mean([2, 3])), MAP),
    "mean of channels": (function(lambda x: x.mean(1, keepdim=True)), MAP),
    "mean of rows": (function(lambda x: x.mean(dim=-2)), MAP),
    "amax": (function(lambda x: x.amax(dim=(2, 3))), MAP),
    "flatten from axis 2": (activation(lambda: nn.Flatten(start_dim=2)), MAP),
    "flatten axes 1 to 2": (activation(lambda: nn.Flatten(1, 2)), MAP),
    "unflatten": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Unflatten(1, (2, 2, 2))), (1, 6)),
    "view(size, -1)": (function(lambda x: x.view(x.size(0), -1)), MAP),
    "tokens": (function(lambda x: x.flatten(2).transpose(1, 2)), MAP),
    "chunk": (function(lambda x: torch.mul(*x.chunk(2, dim=1))), MAP),
    "split with sizes": (
        function(lambda x: [part.relu() for part in torch.split(x, [1, 3], dim=1)]),
        MAP,
    ),
    "split of rows": (function(lambda x: sum(x.split(2, dim=2))), MAP),
    "unbind and stack": (function(lambda x: torch.stack(x.unbind(1)[::-1], 1)), MAP),
    "every second channel": (function(lambda x: x[:, ::2]), MAP),
    "crop": (function(lambda x: x[:, :, 1:-1, 2:]), MAP),
    "select": (function(lambda x: x[:, 0]), MAP),
    "narrow": (function(lambda x: x.narrow(2, 1, 4)), MAP),
    "roll": (function(lambda x: torch.roll(x, 2, dims=3)), MAP),
    "in-place ReLU": (activation(lambda: nn.ReLU(inplace=True)), MAP),
    "ReLU6": (activation(nn.ReLU6), MAP),
    "hard swish": (activation(nn.Hardswish), MAP),
    "hard sigmoid": (activation(nn.Hardsigmoid), MAP),
    "hard tanh": (activation(lambda: nn.Hardtanh(-0.5, 0.7)), MAP),
    "SiLU": (activation(nn.SiLU), MAP),
    "GELU": (activation(nn.GELU), MAP),
    "GELU by tanh": (activation(lambda: nn.GELU(approximate="tanh")), MAP),
    "quick GELU": (function(lambda x: x * torch.sigmoid(1.702 * x)), MAP),
    "Mish": (activation(nn.Mish), MAP),
    "ELU": (activation(lambda: nn.ELU(0.7)), MAP),
    "SELU": (activation(nn.SELU), MAP),
    "CELU": (activation(lambda: nn.CELU(1.3)), MAP),
    "soft sign": (activation(nn.Softsign), MAP),
    "log sigmoid": (activation(nn.LogSigmoid), MAP),
    "tanh shrink": (activation(nn.Tanhshrink), MAP),
    "powers and roots": (function(lambda x: torch.rsqrt(x.pow(2) + 0.5) + x**3), MAP),
    "exp and log1p": (function(lambda x: torch.exp(x / 4) - torch.log1p(x.abs())), MAP),
    "quotient of maps": (function(lambda x: x[:, :2] / (1 + x[:, 2:].abs())), MAP),
    "x * sigmoid(x)": (function(lambda x: x * torch.sigmoid(x)), MAP),
    "leaky ReLU": (activation(lambda: nn.LeakyReLU(0.2)), MAP),
    "PReLU": (activation(nn.PReLU), MAP),
    "PReLU by channel": (activation(lambda: nn.PReLU(4)), MAP),
    "clamp": (function(lambda x: x.clamp(-0.4, 0.6)), MAP),
    "clamp_min": (function(lambda x: torch.clamp_min(x, 0)), MAP),
    "arithmetic with numbers": (function(lambda x: (1 - x) / 2 + x * 0.3 - 0.1), MAP),
    "abs and neg": (function(lambda x: -x.abs()), MAP),
    "zero pad": (lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(4, 3, 3)), MAP),
    "constant pad": (activation(lambda: nn.ConstantPad2d((1, 0, 2, 1), 0.25)), MAP),
    "pad with a number": (function(lambda x: F.pad(x, [1, 1, 1, 1], value=-0.5)), MAP),
    "negative pad": (function(lambda x: F.pad(x, [-1, -1, 1, 0])), MAP),
    "pad of channels": (function(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2))), MAP),
    "average that counts padding": (activation(lambda: nn.AvgPool2d(3, 2, 1)), MAP),
    "average that does not": (
        activation(lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        MAP,
    ),
    "maximum in ceil mode": (activation(lambda: nn.MaxPool2d(3, 2, ceil_mode=True)), MAP),
    "average in ceil mode": (activation(lambda: nn.AvgPool2d(3, 2, ceil_mode=True)), MAP),
    "nearest upsampling": (function(lambda x: F.interpolate(x, scale_factor=2)), MAP),
    "upsampling to a size": (function(lambda x: F.interpolate(x, size=(16, 24))), MAP),
    "Upsample": (activation(lambda: nn.Upsample(scale_factor=(2, 1), mode="nearest")), MAP),
    "pixel shuffle": (activation(lambda: nn.PixelShuffle(2)), MAP),
    "pixel unshuffle": (activation(lambda: nn.PixelUnshuffle(2)), MAP),
    "channel shuffle": (activation(lambda: nn.ChannelShuffle(2)), MAP),
    "ShuffleNet unit": (lambda: give_statistics(ShuffleUnit()), MAP),
    "residual": (lambda: give_statistics(Residual()), MAP),
    "branches": (Branches, MAP),
    "squeeze-and-excite, sigmoid": (lambda: SqueezeExcitation(nn.Sigmoid), MAP),
    "squeeze-and-excite, hard": (lambda: SqueezeExcitation(nn.Hardsigmoid), MAP),
    "channel attention": (ChannelAttention, MAP),
    "U-Net's way up": (upsampled(4, 3, 2, 2), MAP),
    "transposed, odd kernel": (upsampled(4, 3, 3, 2, 1, 1), MAP),
    "transposed, even kernel": (upsampled(4, 3, 4, 2, 1), MAP),
    "transposed, stride 1": (upsampled(4, 3, 3, 1, 1), MAP),
    "transposed, stride 3": (upsampled(4, 2, 5, 3, 2, 2), MAP),
    "transposed, dilated": (upsampled(4, 3, 3, 2, 1, dilation=2), MAP),
    "transposed by channel": (upsampled(4, 4, 4, 2, 1, groups=4), MAP),
    "transposed, kernel below stride": (upsampled(4, 3, 1, 2, output_padding=1), MAP),
    "transposed line": (lambda: nn.ConvTranspose1d(3, 4, 4, 2, 1), (1, 3, 9)),
    "transposed with batch norm": (
        lambda: give_statistics(
            nn.Sequential(nn.ConvTranspose2d(4, 3, 2, 2), nn.BatchNorm2d(3), nn.ReLU())
        ),
        MAP,
    ),
    "weight norm": (weight_norm, MAP),
    "spectral norm": (spectral_norm, (1, 8)),
    "fused batch norm": (fused, MAP),
    "Sequential of Sequential": (layered, MAP),
    "bottleneck in nn.Sequential": (
        lambda: give_statistics(nn.Sequential(*[ConvNormAct(4, 4, nn.ReLU6()) for _ in range(3)])),
        MAP,
    ),
    "log softmax": (lambda: nn.Sequential(nn.Linear(6, 5), nn.LogSoftmax(dim=-1)), (1, 6)),
    "constant beside, channels last": (
        lambda: nn.Sequential(
            Function(lambda x: torch.cat([x, torch.linspace(-2, 1, 128).view(1, 2, 8, 8)], 1)),
            nn.Conv2d(6, 2, 1),
        ),
        MAP,
    ),
    "weight norm of old": (lambda: nn.utils.weight_norm(nn.Linear(6, 3)), (1, 6)),
    "functional layers": (
        function(lambda x: F.hardtanh(F.relu6(F.leaky_relu(F.dropout(x, training=False))))),
        MAP,
    ),
    "adaptive pool by function": (function(lambda x: F.adaptive_avg_pool2d(x, (4, None))), MAP),
    "torch.flatten": (function(lambda x: torch.flatten(torch.flatten(x, 2), 1)), MAP),
    "einops channels to heads": (
        function(lambda x: x.reshape(1, 2, 2, 64).permute(0, 1, 3, 2).reshape(1, 2, 128)),
        MAP,
    ),
    "gather of channels": (function(lambda x: x[:, [2, 0, 0]]), MAP),
    "index_select": (function(lambda x: x.index_select(1, torch.tensor([3, 1]))), MAP),
    "flip": (function(lambda x: x.flip(-1)), MAP),
    "repeat": (function(lambda x: x.repeat(1, 2, 1, 1)), MAP),
    "repeat_interleave": (function(lambda x: x.repeat_interleave(2, dim=2)), MAP),
    "expand to a map": (
        function(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 3)),
        MAP,
    ),
    "slices by steps": (function(lambda x: x[:, :, 1::3, ::2]), MAP),
    "maximum and minimum": (
        function(lambda x: torch.maximum(x[:, :2], x[:, 2:]) - torch.minimum(x[:, :2], x[:, 2:])),
        MAP,
    ),
    "max over channels with places": (function(lambda x: x.max(dim=1)), MAP),
    "min over rows": (function(lambda x: x.amin(2)), MAP),
    "sum": (function(lambda x: x.sum((2, 3))), MAP),
    "norm": (function(lambda x: x.norm(dim=1)), MAP),
    "F.normalize": (function(lambda x: F.normalize(x, dim=1)), MAP),
    "variance": (function(lambda x: x.var((2, 3), unbiased=False)), MAP),
    "logsumexp": (function(lambda x: x.logsumexp(1)), MAP),
    "prod": (function(lambda x: x.prod(1)), MAP),
    "arg-max": (function(lambda x: x.mean((2, 3)).argmax(1)), MAP),
    "masked_fill": (function(lambda x: x.masked_fill(x < 0, 0.0)), MAP),
    "where": (function(lambda x: torch.where(x[:, :2] > x[:, 2:], x[:, :2], x[:, 2:])), MAP),
    "mask as numbers": (function(lambda x: (x > 0).float() * x), MAP),
    "masks joined": (
        function(lambda x: (((x > 0.2) & ~(x > 1)) | (x < -1)).to(x.dtype)),
        MAP,
    ),
    "clamp by channels": (
        function(lambda x: torch.clamp(x, min=torch.linspace(-1, 0, 4).view(1, 4, 1, 1))),
        MAP,
    ),
    "bilinear upsampling": (
        function(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)),
        MAP,
    ),
    "bilinear to a size": (
        function(lambda x: F.interpolate(x, size=(5, 11), mode="bilinear", align_corners=True)),
        MAP,
    ),
    "nearest to a size": (function(lambda x: F.interpolate(x, size=(5, 11))), MAP),
    "bicubic": (function(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic")), MAP),
    "reflection pad": (function(lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect")), MAP),
    "replication pad": (function(lambda x: F.pad(x, (1, 2, 1, 0), mode="replicate")), MAP),
    "circular convolution": (
        lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
        MAP,
    ),
    "unfold": (function(lambda x: F.unfold(x, 2, stride=2)), MAP),
    "fold": (function(lambda x: F.fold(F.unfold(x, 3, padding=1), (8, 8), 3, padding=1)), MAP),
    "local response norm": (function(lambda x: F.local_response_norm(x, 3)), MAP),
    "softplus": (activation(nn.Softplus), MAP),
    "soft shrink": (activation(nn.Softshrink), MAP),
    "average that leaves padding out": (
        activation(lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        MAP,
    ),
    "dilated maximum": (activation(lambda: nn.MaxPool2d(2, dilation=2)), MAP),
    "movedim": (function(lambda x: x.movedim(1, -1)), MAP),
    "expand": (function(lambda x: x + x.mean((2, 3), keepdim=True).expand_as(x)), MAP),
    "square": (function(lambda x: x * x), MAP),
    "where the map is cut and joined": (
        function(lambda x: torch.cat([x[:, :, 4:], x[:, :, :4]], dim=2)),
        MAP,
    ),
    "constant beside": (
        function(lambda x: torch.cat([x, torch.linspace(-1, 1, 64).view(1, 1, 8, 8)], 1)),
        MAP,
    ),
}


def made(names: list[str]) -> tuple[nn.Module, list[Shape]]:
    torch.manual_seed(3)
    return (
        Together([IDIOMS[name][0]() for name in names]).eval(),
        [IDIOMS[name][1] for name in names],
    )


def check(module: nn.Module, graph: Graph, shapes: list[Shape], folder: Path) -> None:
    """PyTorch, the float Graph, the int8 Graph, LiteRT, TFLM and C."""
    int8, codes, steps = steps_from_torch(module, graph, normal_inputs(shapes))
    for port, distance in zip(int8.outputs, steps, strict=True):
        assert distance <= MOST_STEPS, port.name
    check_everywhere(int8, codes, folder)


def test_all_idioms_side_by_side(tmp_path: Path) -> None:
    module, shapes = made(list(IDIOMS))
    check(module, lowered(module, *shapes).graph, shapes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDIOMS)
def test_each_on_its_own(name: str, tmp_path: Path) -> None:
    module, shapes = made([name])
    check(module, lowered(module, *shapes).graph, shapes, tmp_path)


def test_program_with_a_dynamic_batch(tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = layered().eval()
    file = program(tmp_path / "net.pt2", module, torch.randn(4, *MAP[1:]), dynamic=True)
    loaded = load(file)
    graph = float_stages(loaded, choose_inputs(loaded, ()), "net", lambda _: None).graph
    check(module, graph, [MAP], tmp_path)
