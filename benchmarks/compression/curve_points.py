"""The points of the curve: for each method of the issue a few recipes, all with the same budget.

``TRAIN`` in a recipe becomes the training table with all images, ``HALF`` with half of them, for
methods that train twice.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Images that every point may train on, in all.
IMAGES = 2000
BATCH = 64
#: For methods that change everything and need steps more than even gradients.
SMALL_BATCH = 16
_LOSS = 'batch = {batch}\nloss = "distill"\nbatch-norm = "{norm}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One network of the curve.

    Attributes:
        method: The curve that it lies on.
        label: Which point of it.
        recipe: TOML.
    """

    method: str
    label: str
    recipe: str

    @property
    def key(self) -> str:
        """For file names and results."""
        text = f"{self.method} {self.label}".lower()
        return "".join(c if c.isalnum() else "-" for c in text).strip("-")


def step(method: str, *options: str, layers: str = '["layer*"]') -> str:
    """One step; `layers` leaves the first convolution and the last layer at 8 bits."""
    return "\n".join(["[[step]]", f'method = "{method}"', f"layers = {layers}", *options])


def table(
    rate: float,
    name: str = "training",
    *,
    part: float = 1.0,
    norm: str = "frozen",
    batch: int = BATCH,
) -> str:
    """A training table of the budget, or of a part of it."""
    loss = _LOSS.format(norm=norm, batch=batch)
    return f"[step.{name}]\nepochs = {part}\nlearning-rate = {rate}\n{loss}"


def tune(rate: float, *, part: float = 1.0, norm: str = "frozen", batch: int = BATCH) -> str:
    """Fine-tuning as a step."""
    return f'[[step]]\nmethod = "fine-tune"\n{table(rate, part=part, norm=norm, batch=batch)}'


def _factors(method: str, name: str, options: dict[str, str], rate: float = 1e-3) -> list[Point]:
    """A factorization at several sizes, with whatever saves flash or not."""
    return [
        Point(
            method=method,
            label=label,
            recipe="\n".join(
                [step(name, option, 'must-save = "nothing"'), tune(rate, norm="train")]
            ),
        )
        for label, option in options.items()
    ]


def _separable_then(method: str, name: str, options: dict[str, str]) -> list[Point]:
    """Methods for dense and 1x1 layers, on the 1x1 layers that a separable network has."""
    return [
        Point(
            method=method,
            label=label,
            recipe="\n".join(
                [
                    step("depthwise", 'must-save = "nothing"'),
                    tune(1e-3, part=0.5, norm="train"),
                    step(name, option, 'must-save = "nothing"', layers='["layer*.1"]'),
                    tune(1e-3, part=0.5, norm="train"),
                ]
            ),
        )
        for label, option in options.items()
    ]


def _scalar(values: int) -> Point:
    options = (f"values = {values}", 'scale = "rms"', 'importance = "outputs"', "calibration = 128")
    return Point(
        method="k-means",
        label=f"K = {values}",
        recipe="\n".join([step("share", *options), tune(2e-4)]),
    )


def _budget(kilobytes: int) -> Point:
    options = (
        f"budget-bytes = {kilobytes * 1000}",
        'scale = "rms"',
        'importance = "outputs"',
        "calibration = 128",
    )
    return Point(
        method="k-means, bits allocated",
        label=f"{kilobytes} kB",
        recipe="\n".join([step("share", *options), tune(2e-4)]),
    )


def _vectors(label: str, *parts: tuple[str, int]) -> Point:
    steps = [
        step(
            "share-vectors", f"d = {d}", 'scale = "rms"', 'importance = "outputs"',
            "calibration = 128", layers=layers,
        )
        for layers, d in parts
    ]  # fmt: skip
    return Point(method="vectors", label=label, recipe="\n".join([*steps, tune(2e-4)]))


def _pruned(keep: float) -> Point:
    recipe = "\n".join(
        [step("prune", f"keep = {keep}", "ramp = 0.6", "every = 4"), table(1e-3, norm="train")]
    )
    return Point(method="magnitude pruning", label=f"{keep:.0%} kept", recipe=recipe)


def _deep_compression(keep: float, values: int, method: str, last: str = "") -> Point:
    recipe = "\n".join(
        [
            step("prune", f"keep = {keep}", "ramp = 0.6", "every = 4"),
            table(1e-3, part=0.6, norm="train"),
            step("share", f"values = {values}", 'scale = "rms"'),
            table(3e-4, part=0.4),
            last,
        ]
    )
    return Point(method=method, label=f"{keep:.0%} kept, K = {values}", recipe=recipe)


def _quantized(method: str, name: str, *options: str) -> Point:
    recipe = "\n".join([step(name, *options), table(1e-3, norm="train")])
    return Point(method=method, label=" ".join(options) or "a factor a channel", recipe=recipe)


def _deep(strength: float) -> Point:
    options = (f"strength = {strength}", 'layout = "channels"', "d = 4", "values = 256")
    recipe = "\n".join(
        [
            step("deep-k-means", *options),
            table(1e-3, "retraining", part=0.6, norm="train"),
            table(1e-3, part=0.4),
        ]
    )
    label = f"d = 4, lambda = {strength}"
    return Point(method="Deep k-Means", label=label, recipe=recipe)


def _soft(zero_share: float, tau: float, rate: float) -> Point:
    """The components start as wide as the priors of their precisions want them, 0.02.

    Few steps move neither means nor precisions far: a wider start would leave everything to the
    component at zero.
    """
    options = (
        "components = 16", f"zero-share = {zero_share}", f"tau = {tau}", "spread = 0.45",
        "deviation = 0.02", "rate-means = 1e-3", "rate-precisions = 1e-2",
    )  # fmt: skip
    training = table(rate, part=0.7, batch=32)
    recipe = "\n".join([step("soft-sharing", *options), training, tune(3e-4, part=0.3, batch=32)])
    label = f"pi_0 = {zero_share}, tau = {tau}"
    return Point(method="soft weight-sharing", label=label, recipe=recipe)


POINTS: tuple[Point, ...] = (
    Point(method="int8", label="as trained", recipe='[[step]]\nmethod = "huffman"'),
    *(_scalar(values) for values in (16, 8, 4)),
    *(_pruned(keep) for keep in (0.5, 0.3, 0.15)),
    *_factors("Tucker-2", "tucker", {f"rank {r}": f"rank = {r}" for r in (0.5, 0.35)}),
    *_factors("CP", "cp", {f"rank {r} of all": f"rank = {r}" for r in (0.3,)}),
    *_factors("spatial", "spatial", {f"rank {r}": f"rank = {r}" for r in (0.2, 0.33)}),
    *_factors(
        "depthwise separable",
        "depthwise",
        {f"multiplier {m}": f"multiplier = {m}" for m in (1,)},
    ),
    *_factors("grouped", "grouped", {f"{g} groups": f"groups = {g}" for g in (2, 4)}),
    *_factors("shift, fixed", "shift", {"weights' order": ""}),
    *(
        Point(
            method="shift attention",
            label=taps,
            recipe="\n".join(
                [
                    step(
                        "shift",
                        f'taps = "{taps}"',
                        "temperature = 0.5",
                        'must-save = "nothing"',
                    ),
                    table(1e-3, part=0.2, norm="train", batch=SMALL_BATCH),
                    tune(1e-3, part=0.8, norm="train", batch=SMALL_BATCH),
                ]
            ),
        )
        for taps in ("attention", "attention-2")
    ),
    *_separable_then(
        "SVD after separable", "svd", {f"rank {r}": f"rank = {r}" for r in (0.5, 0.25)}
    ),
    *_separable_then(
        "dictionary after separable",
        "dictionary",
        {f"{n} atoms an output": f"nonzeros = {n}" for n in (8, 4)},
    ),
    *(
        Point(
            method="channel pruning",
            label=f"{keep:.0%} kept",
            recipe="\n".join(
                [
                    step("prune-channels", f"keep = {keep}", "multiple = 4"),
                    table(1e-3, norm="train"),
                ]
            ),
        )
        for keep in (0.75, 0.5)
    ),
    *(_budget(kilobytes) for kilobytes in (110, 80)),
    _vectors("d = 2", ('["layer*"]', 2)),
    _vectors("d = 4", ('["layer*"]', 4)),
    _vectors("d = 8", ('["layer*"]', 8)),
    _vectors("d = 8 in the last third, else 4", ('["layer3*"]', 8), ('["layer[12]*"]', 4)),
    *(_quantized("uniform", "uniform", f"bits = {bits}") for bits in (4, 2)),
    _quantized("ternary", "ternary"),
    _quantized("binary", "binary"),
    _deep_compression(0.5, 16, "prune, share, Huffman", '[[step]]\nmethod = "huffman"'),
    _deep_compression(0.3, 16, "prune, share, Huffman", '[[step]]\nmethod = "huffman"'),
    *(_deep(strength) for strength in (0, 0.03)),
    *(
        _soft(zero_share, tau, rate)
        for zero_share, tau, rate in ((0.5, 0.03, 5e-4), (0.9, 0.1, 5e-4), (0.98, 0.3, 1e-3))
    ),
)
