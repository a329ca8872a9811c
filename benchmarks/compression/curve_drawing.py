"""The figure of `curve.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curve_points import IMAGES, POINTS

#: Marker and colour of each family; a method's place in its family gives the line's style.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tab:blue": ("o", ("k-means", "k-means, bits allocated", "soft weight-sharing")),
    "tab:red": ("s", ("vectors", "Deep k-Means")),
    "tab:green": ("^", ("uniform", "ternary", "binary")),
    "tab:orange": (
        "D",
        ("magnitude pruning", "channel pruning", "prune, share, Huffman"),
    ),
    "tab:purple": ("v", ("Tucker-2", "CP", "spatial")),
    "tab:brown": (
        "P",
        ("depthwise separable", "SVD after separable", "dictionary after separable", "grouped"),
    ),
    "tab:gray": ("X", ("shift, fixed", "shift attention")),
}
#: What lies along the axis: a key of the results, what it is divided by, its name.
AXES = {
    "flash_bytes": (1e3, "flash of the firmware, kB (weights, tables and code)"),
    "instructions": (1e6, "instructions of one inference on the emulated Cortex-M4, millions"),
}
_STYLES = ("-", "--", ":", "-.")
_FILLS = ("full", "none", "left", "top")


def draw(entries: Mapping[str, Mapping[str, Any]], picture: Path) -> None:
    """Draws every measured point: all of them, and the best enlarged; by flash, by instructions.

    Args:
        entries: Results by key.
        picture: The PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(13, 11.5), layout="constrained")
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for point in POINTS:
        if point.key in entries:
            by_method.setdefault(point.method, []).append(entries[point.key])
    for row, (key, (scale, unit)) in zip(panels, AXES.items(), strict=True):
        for axes in row:
            _curves(axes, by_method, key, scale)
            axes.set_xlabel(unit)
            axes.grid(alpha=0.3, which="both")
        row[0].set_ylabel("accuracy on 2,000 test images, %")
        row[0].set_ylim(bottom=0)
        row[1].set_ylim(84, 92)
    for axes in panels[1]:
        axes.set_xscale("log")
        axes.set_xticks([15, 20, 30, 40, 60, 80, 120, 160, 240])
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter("")
    panels[0][1].set_title("the best of them", fontsize=10)
    panels[0][0].set_title(
        f"ResNet-20, CIFAR-10, cortex-m4; each point trained once on {IMAGES:,} images",
        fontsize=10,
    )
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _curves(
    axes: Any, by_method: Mapping[str, Sequence[Mapping[str, Any]]], key: str, scale: float
) -> None:
    """Accuracy against one figure, a line a method."""
    for row in by_method.get("int8", ()):
        accuracy = 100 * row["accuracy"]
        axes.plot(row[key] / scale, accuracy, "k*", markersize=12, label="int8, as trained")
        axes.axhline(accuracy, color="black", linewidth=0.6, linestyle=":")
    for colour, (marker, methods) in FAMILIES.items():
        for number, method in enumerate(methods):
            # From the lightest compression to the heaviest, in both figures alike.
            rows = sorted(by_method.get(method, ()), key=lambda row: row["flash_bytes"])
            if rows:
                axes.plot(
                    [row[key] / scale for row in rows],
                    [100 * row["accuracy"] for row in rows],
                    color=colour,
                    marker=marker,
                    linestyle=_STYLES[number],
                    fillstyle=_FILLS[number],
                    linewidth=1,
                    markersize=7,
                    label=method,
                )


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """The points in Markdown, smallest first."""
    lines = [
        "| method | point | flash B | weights B | RAM B | instructions | accuracy % | rate "
        "| codes as trained | vectors as trained |",
        "|---" * 10 + "|",
    ]
    for row in sorted(entries.values(), key=lambda entry: entry["flash_bytes"]):
        lines.append(
            f"| {row['method']} | {row['label']} | {row['flash_bytes']:,} | "
            f"{row['weight_bytes']:,} | {row['ram_bytes']:,} | {row['instructions']:,} | "
            f"{100 * row['accuracy']:.2f} | {row['rate']:.1f}x | "
            f"{_layers(row['codes_as_trained'])} | {_layers(row['vectors_as_trained'])} |"
        )
    return "\n".join(lines)


def _layers(counts: Sequence[int]) -> str:
    """Layers that are right, of those that share anything."""
    right, shared = counts
    return f"{right} of {shared}" if shared else ""
