"""AlexNet with its two groups (Krizhevsky et al. 2012), narrowed for images of 32 x 32.

"ImageNet classification with deep convolutional neural networks". The second, fourth and fifth
convolution see only half of the maps each, as on the two graphics cards of the paper; its local
response normalization is left out, as later work does. Input [N, 3, 32, 32]; output [N, 10].
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 32, 32)


class AlexNet(nn.Module):
    """Five convolutions and three dense layers, overlapping pools, dropout."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(32, 64, 5, padding=2, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 96, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(96, 96, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(96, 64, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(64 * 3 * 3, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def alexnet() -> nn.Module:
    """The network, untrained; 244,000 weights."""
    return AlexNet()
