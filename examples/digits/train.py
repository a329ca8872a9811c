"""Trains the digits network, lets its last layers share weights, and writes model.pt.

    python examples/digits/train.py

takes about a quarter of a minute on one core. model.pt is a plain state dict; nothing in it is
particular to edgefactor, which finds the shared values in the weights themselves.
"""

from pathlib import Path

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from data import load
from model import digits

SHARED_LAYERS = ("last.0", "dense")
SHARED_VALUES = 16  # 16 values are 4 bits a weight on the device


class SharedWeights(nn.Module):
    """Makes a weight out of a short list of values and, for each weight, its place in the list.

    The list is then what training adjusts, and stays a list (Han, Mao and Dally, Deep
    Compression, 2015, section 3).
    """

    def __init__(self, place: Tensor) -> None:
        super().__init__()
        self.register_buffer("place", place)

    def forward(self, values: Tensor) -> Tensor:
        return values[self.place]

    def right_inverse(self, weight: Tensor) -> Tensor:
        return torch.stack([weight[self.place == k].mean() for k in range(SHARED_VALUES)])


def share_weights(layer: nn.Module) -> None:
    """Replace the weights of a layer by the nearest of 16 values, found by k-means."""
    weight = layer.weight.detach()
    means = KMeans(SHARED_VALUES, n_init=4, random_state=0).fit(weight.reshape(-1, 1).numpy())
    place = torch.from_numpy(means.labels_).long().reshape(weight.shape)
    parametrize.register_parametrization(layer, "weight", SharedWeights(place))


def shift(x: Tensor) -> Tensor:
    """Move each image by up to one pixel: digits are not always centred."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    moved = F.pad(x, (1, 1, 1, 1))
    return moved[:, :, 1 + down : 9 + down, 1 + right : 9 + right]


def train(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, rate: float) -> None:
    """Train by Adam, the rate falling to zero along a cosine."""
    batches = -(-len(x) // 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            loss = F.cross_entropy(model(shift(x[batch])), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def report(model: nn.Module, x: Tensor, y: Tensor, step: str) -> None:
    """Print the accuracy on the test images."""
    model.eval()
    with torch.no_grad():
        print(f"{step}: {(model(x).argmax(1) == y).float().mean():.1%} of {len(x)} test images")


def main() -> None:
    """Train, share, fine-tune, write."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # sums in one order, so that a second run gives the same weights
    x_train, y_train, x_test, y_test = map(torch.from_numpy, load())
    model = digits()

    train(model, x_train, y_train, epochs=40, rate=3e-3)
    report(model, x_test, y_test, "trained")

    layers = [model.get_submodule(name) for name in SHARED_LAYERS]
    for layer in layers:
        share_weights(layer)
    report(model, x_test, y_test, f"{SHARED_VALUES} values a layer")

    train(model, x_train, y_train, epochs=10, rate=5e-4)
    report(model, x_test, y_test, "fine-tuned")

    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight")
    torch.save(model.state_dict(), Path(__file__).with_name("model.pt"))


if __name__ == "__main__":
    main()
