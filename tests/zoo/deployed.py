"""Networks that people deploy, written as their authors and users write them, in small.

Each has something that a chain of layers has not: a token of constants, a product by einsum, an old
weight norm, a cast of shapes. What they compute is not the point, so weights are random.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shape = tuple[int, ...]


class SelfAttention(nn.Module):
    """timm: queries, keys and values in one layer, unbound."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(n, tokens, width))


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2021: a class token in front of patches, and layer scale."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.pos_embed = nn.Parameter(torch.randn(1, 17, width) * 0.3)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, 4)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(), nn.Linear(2 * width, width)
        )
        self.gamma = nn.Parameter(torch.full((width,), 0.7))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        x = x + self.gamma * self.attn(self.norm1(x))
        x = x + self.gamma * self.mlp(self.norm2(x))
        return self.head(x[:, 0])


class CrossCovariance(nn.Module):
    """El-Nouby et al. 2021, XCiT: channels attend to each other; unit vectors, a temperature."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 4, 1)
        q, k = (F.normalize(qkv[index], dim=-1) for index in (0, 1))
        scores = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        x = x + (scores @ qkv[2]).permute(0, 3, 1, 2).reshape(n, tokens, width)
        return self.proj(x.mean(1))


class LinearAttention(nn.Module):
    """Katharopoulos et al. 2020: attention without softmax, with einsum of three tensors."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.enter, self.qkv = nn.Linear(10, width), nn.Linear(width, 3 * width, bias=False)
        self.leave = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens = x.shape[:2]
        parts = self.qkv(self.enter(x)).chunk(3, dim=-1)
        q, k, v = (part.reshape(n, tokens, self.heads, -1).transpose(1, 2) for part in parts)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        memory = torch.einsum("bhnd,bhne->bhde", k, v)
        norm = 1 / (torch.einsum("bhnd,bhd->bhn", q, k.sum(2)) + 1e-6)
        y = torch.einsum("bhnd,bhde,bhn->bhne", q, memory, norm)
        return self.leave(y.transpose(1, 2).reshape(n, tokens, -1).mean(1))


class Mamba(nn.Module):
    """Gu and Dao 2023, as the short implementations have it: einsum, and a loop with a list."""

    def __init__(self, width: int = 16, states: int = 4) -> None:
        super().__init__()
        self.sizes = [1, states, states]
        self.enter = nn.Linear(8, 2 * width)
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width)
        self.project, self.dt = nn.Linear(width, sum(self.sizes)), nn.Linear(1, width)
        self.decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.skip = nn.Parameter(torch.ones(width))
        self.leave = nn.Linear(width, 6)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        x, gate = self.enter(x).chunk(2, dim=-1)
        x = F.silu(self.conv(x.transpose(1, 2))[:, :, :length]).transpose(1, 2)
        dt, b, c = self.project(x).split(self.sizes, dim=-1)
        dt = F.softplus(self.dt(dt))
        decays = torch.exp(torch.einsum("bld,dn->bldn", dt, -torch.exp(self.decay)))
        additions = torch.einsum("bld,bln,bld->bldn", dt, b, x)
        state = torch.zeros_like(additions[:, 0])
        results = []
        for step in range(length):
            state = decays[:, step] * state + additions[:, step]
            results.append(torch.einsum("bdn,bn->bd", state, c[:, step]))
        y = torch.stack(results, dim=1) + x * self.skip
        return self.leave((y * F.silu(gate)).mean(1))


class DenseLayers(nn.Module):
    """Huang et al. 2017, DenseNet: each layer reads all before it; more than ten of them."""

    def __init__(self, layers: int = 12, growth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(8 + index * growth),
                nn.ReLU(inplace=True),
                nn.Conv2d(8 + index * growth, growth, 3, padding=1, bias=False),
            )
            for index in range(layers)
        )
        self.linear = nn.Linear(8 + layers * growth, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = F.relu(torch.cat(features, 1), inplace=True)
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class TemporalBlock(nn.Module):
    """Bai et al. 2018, TCN: causal by cutting off the end, with the weight norm of old."""

    def __init__(self, channels: int, out: int, dilation: int) -> None:
        super().__init__()
        self.cut = 4 * dilation
        self.conv = nn.utils.weight_norm(
            nn.Conv1d(channels, out, 5, padding=self.cut, dilation=dilation)
        )
        self.downsample = nn.Conv1d(channels, out, 1) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x)[:, :, : -self.cut].contiguous())
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class TemporalNet(nn.Module):
    """Three blocks, the last time step, scores as logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(TemporalBlock(*s) for s in ((6, 16, 1), (16, 16, 2))))
        self.linear = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.linear(self.blocks(x)[:, :, -1]), dim=1)


class DistributionHead(nn.Module):
    """YOLOv8: edges as means of distributions, by a fixed convolution; boxes from edges."""

    def __init__(self, bins: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.bins, self.classes = bins, classes
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.head = nn.Conv2d(16, 4 * bins + classes, 1)
        self.mean = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(False)
        self.mean.weight.data[:] = torch.arange(float(bins)).view(1, bins, 1, 1)
        at = torch.arange(8) + 0.5
        y, x = torch.meshgrid(at, at, indexing="ij")
        self.register_buffer("anchors", torch.stack((x, y)).view(1, 2, -1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.head(self.features(x)).flatten(2)
        edges, classes = maps.split((4 * self.bins, self.classes), 1)
        edges = edges.view(x.shape[0], 4, self.bins, -1).transpose(2, 1).softmax(1)
        before, after = self.mean(edges).view(x.shape[0], 4, -1).chunk(2, 1)
        low, high = self.anchors - before, self.anchors + after
        return torch.cat(((low + high) / 2, high - low), 1) * 4, classes.sigmoid()


class SubSpectral(nn.Module):
    """Kim et al. 2021, BC-ResNet: batch norm by bands of frequency, and broadcast residuals."""

    def __init__(self, channels: int = 8, bands: int = 5) -> None:
        super().__init__()
        self.bands = bands
        self.stem = nn.Conv2d(1, channels, 5, (2, 1), 2, bias=False)
        self.over_bands = nn.Conv2d(channels, channels, (3, 1), 1, (1, 0), groups=channels)
        self.norm = nn.BatchNorm2d(channels * bands)
        self.over_time = nn.Conv2d(channels, channels, (1, 3), 1, (0, 2), (1, 2), groups=channels)
        self.last = nn.Conv2d(channels, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, channels, bins, frames = x.shape
        y = self.over_bands(x).view(n, channels * self.bands, bins // self.bands, frames)
        y = self.norm(y).view(n, channels, bins, frames)
        y = F.silu(self.over_time(y.mean(-2, keepdim=True))) + y + x
        return self.last(F.relu(y, True).mean((2, 3), keepdim=True)).view(-1, 12)


class ConvLSTM(nn.Module):
    """Shi et al. 2015: a recurrent convolution, unrolled by a Python loop."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.channels = channels
        self.gates = nn.Conv2d(1 + channels, 4 * channels, 3, padding=1)
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, steps, _, height, width = x.shape
        h = c = torch.zeros(n, self.channels, height, width)
        for step in range(steps):
            i, f, o, g = self.gates(torch.cat([x[:, step], h], 1)).split(self.channels, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.last(h)


#: What makes a network, shape of its input with the batch.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "vision transformer": (VisionTransformer, (1, 3, 32, 32)),
    "cross-covariance attention": (CrossCovariance, (1, 3, 32, 32)),
    "linear attention": (LinearAttention, (1, 20, 10)),
    "Mamba": (Mamba, (1, 12, 8)),
    "dense layers": (DenseLayers, (1, 3, 16, 16)),
    "temporal convolutions": (TemporalNet, (1, 6, 48)),
    "distribution head": (DistributionHead, (1, 3, 32, 32)),
    "sub-spectral norm": (SubSpectral, (1, 1, 40, 20)),
    "convolutional LSTM": (ConvLSTM, (1, 3, 1, 8, 8)),
}
