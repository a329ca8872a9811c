"""A deep convolutional auto-encoder: images to a code of 32 numbers and back.

After Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction",
with strided convolutions down, and nearest-neighbour upsampling and convolutions up.
Input [N, 1, 32, 32] in 0..1; output the same.
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 1, 32, 32)


def norm_relu(layer: nn.Conv2d) -> tuple[nn.Module, ...]:
    """Batch norm and ReLU after a convolution; without the norms the units soon die."""
    return layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()


class Autoencoder(nn.Module):
    """Encoder, code, decoder."""

    def __init__(self, code: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *norm_relu(nn.Conv2d(1, 16, 3, 2, 1)),
            *norm_relu(nn.Conv2d(16, 32, 3, 2, 1)),
            *norm_relu(nn.Conv2d(32, 64, 3, 2, 1)),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 64 * 4 * 4),
            nn.Unflatten(1, (64, 4, 4)),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            *norm_relu(nn.Conv2d(64, 32, 3, padding=1)),
            nn.Upsample(scale_factor=2),
            *norm_relu(nn.Conv2d(32, 16, 3, padding=1)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(16, 1, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def conv_autoencoder() -> nn.Module:
    """The network, untrained; 112,000 weights."""
    return Autoencoder()
