"""Human activity from an accelerometer and a gyroscope, by 1-D convolutions.

Like the convolutional baseline of Ordonez and Roggen 2016, "Deep convolutional and LSTM recurrent
neural networks for multimodal wearable activity recognition". Input [N, 128, 6], time before
channels as sensors deliver it; output [N, 6] probabilities.
"""

from torch import Tensor, nn

INPUT_SHAPE = (1, 128, 6)


class SensorNet(nn.Module):
    """Three convolutions over time, each followed by a pool, and a classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.BatchNorm1d(channels),
            nn.Conv1d(channels, 24, 5, padding="same"),
            nn.LeakyReLU(0.1),
            nn.MaxPool1d(2),
            nn.Conv1d(24, 32, 5, padding="same", dilation=2),
            nn.LeakyReLU(0.1),
            nn.AvgPool1d(2),
            nn.Conv1d(32, 48, 3, stride=2),
            nn.PReLU(48),
            nn.AdaptiveMaxPool1d(1),
        )
        self.classifier = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x.transpose(1, 2)).squeeze(-1)
        return self.classifier(x).softmax(dim=1)


def sensor_net(channels: int = 6, classes: int = 6) -> nn.Module:
    """The network, untrained; 9,500 weights."""
    return SensorNet(channels, classes)
