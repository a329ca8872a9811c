"""VMamba in small (Liu et al. 2024): state space blocks that scan an image in four directions.

"VMamba: Visual State Space Model", with the selective scan of Gu and Dao 2023, "Mamba", as a plain
loop over the tokens; the export makes one operator of it. Input [N, 3, 32, 32], output [N, 10].
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_SHAPE = (1, 3, 32, 32)


def scan(decays: Tensor, additions: Tensor) -> Tensor:
    """h[t] = a[t] * h[t - 1] + b[t] along the second axis, from zeros; all h."""
    state = torch.zeros_like(additions[:, 0])
    states = []
    for step in range(additions.shape[1]):
        state = decays[:, step] * state + additions[:, step]
        states.append(state)
    return torch.stack(states, 1)


def cross_scan(x: Tensor) -> list[Tensor]:
    """[N, H, W, C] as four sequences: by rows, by columns, and both backwards."""
    rows, columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
    return [rows, columns, rows.flip(1), columns.flip(1)]


def cross_merge(paths: list[Tensor], height: int, width: int) -> Tensor:
    """The sum of four sequences, each put back in its order: [N, H, W, C]."""
    by_rows = paths[0] + paths[2].flip(1)
    by_columns = paths[1] + paths[3].flip(1)
    turned = by_columns.unflatten(1, (width, height)).transpose(1, 2)
    return by_rows.unflatten(1, (height, width)) + turned


class SelectiveScan(nn.Module):
    """One direction's part of SS2D: what depends on the input, and how the states are read.

    Weights start as in Mamba: steps between 0.01 and 0.1, so that states last for ten tokens and
    more.
    """

    def __init__(self, channels: int, states: int, rank: int) -> None:
        super().__init__()
        self.sizes = [rank, states, states]
        self.project = nn.Parameter(torch.randn(sum(self.sizes), channels) * channels**-0.5)
        self.step = nn.Parameter(torch.randn(channels, rank) * 0.3 * rank**-0.5)
        first = torch.exp(torch.empty(channels).uniform_(math.log(0.01), math.log(0.1)))
        self.step_bias = nn.Parameter(torch.log(torch.expm1(first)))
        self.log_decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, L, C] -> decays and additions [N, L, C, states], and what reads [N, L, 1, states]."""
        step, write, read = F.linear(x, self.project).split(self.sizes, -1)
        step = F.softplus(F.linear(step, self.step, self.step_bias))
        decays = torch.exp(step.unsqueeze(-1) * -torch.exp(self.log_decay))
        additions = (step * x).unsqueeze(-1) * write.unsqueeze(2)
        return decays, additions, read.unsqueeze(2)

    def read(self, states: Tensor, read: Tensor, x: Tensor) -> Tensor:
        """The output of the sequence, [N, L, C]."""
        return (states * read).sum(-1) + self.skip * x


class SS2D(nn.Module):
    """Gate and convolution, then four selective scans."""

    def __init__(self, channels: int, states: int, rank: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, 2 * channels, bias=False)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.directions = nn.ModuleList(SelectiveScan(channels, states, rank) for _ in range(4))
        self.norm = nn.LayerNorm(channels)
        self.leave = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x, gate = self.enter(x).chunk(2, -1)
        x = F.silu(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        paths = cross_scan(x)
        parts = [one.prepare(path) for one, path in zip(self.directions, paths, strict=True)]
        decays, additions, reads = zip(*parts, strict=True)
        states = scan(torch.cat(decays, 2), torch.cat(additions, 2)).chunk(4, 2)
        each = zip(self.directions, states, reads, paths, strict=True)
        paths = [one.read(*part) for one, *part in each]
        return self.leave(self.norm(cross_merge(paths, height, width)) * F.silu(gate))


class Block(nn.Module):
    """SS2D and a perceptron, each with a norm in front and added to its input."""

    def __init__(self, channels: int, states: int, rank: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mixer = SS2D(channels, states, rank)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VMamba(nn.Module):
    """Patches of 4 by 4 pixels, blocks, mean, dense layer."""

    def __init__(self, channels: int, states: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 4, 4)
        self.blocks = nn.Sequential(*(Block(channels, states, 2) for _ in range(blocks)))
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patches(x).permute(0, 2, 3, 1))
        return self.linear(self.norm(x).mean([1, 2]))


def vmamba(channels: int = 24, states: int = 4, blocks: int = 2, classes: int = 10) -> nn.Module:
    """The network, untrained; 13,000 weights."""
    return VMamba(channels, states, blocks, classes)
