"""The figure of `curve.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
_STYLES = ("-", "--", ":", "-.")
_FILLS = ("full", "none", "left", "top")


def draw(entries: Mapping[str, Mapping[str, Any]], picture: Path) -> None:
    """Draws every measured point: all of them, and the best corner enlarged.

    Args:
        entries: Results by key.
        picture: The PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (whole, corner) = pyplot.subplots(1, 2, figsize=(13, 6.2), layout="constrained")
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for point in POINTS:
        if point.key in entries:
            by_method.setdefault(point.method, []).append(entries[point.key])
    for axes in (whole, corner):
        _int8(axes, by_method.get("int8", ()))
        for colour, (marker, methods) in FAMILIES.items():
            for number, method in enumerate(methods):
                rows = sorted(by_method.get(method, ()), key=lambda row: row["flash_bytes"])
                if rows:
                    axes.plot(
                        [row["flash_bytes"] / 1000 for row in rows],
                        [100 * row["accuracy"] for row in rows],
                        color=colour,
                        marker=marker,
                        linestyle=_STYLES[number],
                        fillstyle=_FILLS[number],
                        linewidth=1,
                        markersize=7,
                        label=method,
                    )
        axes.set_xlabel("flash of the firmware, kB (weights, tables and code)")
        axes.grid(alpha=0.3)
    whole.set_ylabel("accuracy on 2,000 test images, %")
    whole.set_ylim(bottom=0)
    corner.set_ylim(84, 92)
    corner.set_title("the best of them", fontsize=10)
    whole.set_title(
        f"ResNet-20, CIFAR-10, cortex-m4; each point trained once on {IMAGES:,} images",
        fontsize=10,
    )
    figure.legend(
        *whole.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def _int8(axes: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        axes.plot(
            row["flash_bytes"] / 1000,
            100 * row["accuracy"],
            "k*",
            markersize=12,
            label="int8, as trained",
        )
        axes.axhline(100 * row["accuracy"], color="black", linewidth=0.6, linestyle=":")


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """The points in Markdown, smallest first."""
    lines = [
        "| method | point | flash B | weights B | accuracy % | rate |",
        "|---" * 6 + "|",
    ]
    for row in sorted(entries.values(), key=lambda entry: entry["flash_bytes"]):
        lines.append(
            f"| {row['method']} | {row['label']} | {row['flash_bytes']:,} | "
            f"{row['weight_bytes']:,} | {100 * row['accuracy']:.2f} | {row['rate']:.1f}x |"
        )
    return "\n".join(lines)
