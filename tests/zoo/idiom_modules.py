"""Modules and functions in the words of torchvision and timm, for the table of idioms."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval, parametrizations

from tests.pipeline.networks import give_statistics

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
