"""Which form each layer takes under a flash budget, the code of its kernels counted once.

The best combination for a size of the weights is exact (``allocation``). What the weights may take
depends on the kernels: each kind is code that all its layers share. A kernel file is given up where
the flash that it takes does more as weights elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgefactor.pipeline.sharing_at_export import allocation
from edgefactor.pipeline.sharing_at_export.allocation import Choice

UNKNOWN_BYTES = 200
"""Of a kernel's file that no image held yet: a guess."""
_SETTLING_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedChoice(Choice):
    """A form of a layer's weights.

    Attributes:
        sources: Files of kernels that it needs.
    """

    sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A combination of forms.

    Attributes:
        chosen: Of each layer.
        size_bytes: Weights and kernels.
        loss: Of all layers.
    """

    chosen: tuple[int, ...]
    size_bytes: int
    loss: float


def code_bytes(sources: Iterable[str], known: Mapping[str, int]) -> int:
    """What files of kernels take."""
    return sum(known.get(name, UNKNOWN_BYTES) for name in sources if name.endswith(".c"))


def search(
    layers: Sequence[Sequence[CodedChoice]], budget_bytes: int, known: Mapping[str, int]
) -> Found | None:
    """The combination at least loss whose weights and kernels keep within a budget.

    Args:
        layers: The choices of each layer.
        budget_bytes: For weights and kernels.
        known: Bytes of kernel files in linked images.

    Returns:
        None if nothing fits.
    """
    best = _without(layers, budget_bytes, known, frozenset())
    left_out: frozenset[str] = frozenset()
    while True:
        used = _sources(layers, best.chosen) if best else _every_source(layers)
        tries = [
            (found, left_out | {name})
            for name in sorted(used)
            if code_bytes([name], known) > 0
            and (found := _without(layers, budget_bytes, known, left_out | {name}))
        ]
        better = min(tries, key=lambda item: (item[0].loss, item[0].size_bytes), default=None)
        if better is None or (best is not None and better[0].loss >= best.loss):
            return best
        best, left_out = better


def _without(
    layers: Sequence[Sequence[CodedChoice]],
    budget_bytes: int,
    known: Mapping[str, int],
    left_out: frozenset[str],
) -> Found | None:
    """The best combination that needs none of some files."""
    places = _places_without(layers, left_out)
    if not all(places):
        return None
    allowed = [[choices[i] for i in at] for choices, at in zip(layers, places, strict=True)]
    best: Found | None = None
    code = 0
    for _ in range(_SETTLING_ROUNDS):
        part = allocation.allocate(allowed, max(budget_bytes - code, 0))
        if part is None:
            break
        chosen = tuple(at[i] for at, i in zip(places, part, strict=True))
        needed = code_bytes(_sources(layers, chosen), known)
        found = _found(layers, chosen, needed)
        if found.size_bytes <= budget_bytes and (best is None or found.loss < best.loss):
            best = found
        if needed == code:
            break
        code = needed if needed > code or best is None else (code + needed) // 2
    return best


def _places_without(
    layers: Sequence[Sequence[CodedChoice]], left_out: frozenset[str]
) -> list[list[int]]:
    """Of each layer, the choices that need none of some files."""
    return [
        [i for i, choice in enumerate(choices) if not choice.sources & left_out]
        for choices in layers
    ]


def _found(
    layers: Sequence[Sequence[CodedChoice]], chosen: tuple[int, ...], kernel_bytes: int
) -> Found:
    taken = [choices[i] for choices, i in zip(layers, chosen, strict=True)]
    return Found(
        chosen=chosen,
        size_bytes=kernel_bytes + sum(choice.size_bytes for choice in taken),
        loss=sum(choice.loss for choice in taken),
    )


def _sources(layers: Sequence[Sequence[CodedChoice]], chosen: Sequence[int]) -> frozenset[str]:
    parts = [choices[i].sources for choices, i in zip(layers, chosen, strict=True)]
    return frozenset().union(*parts)


def _every_source(layers: Sequence[Sequence[CodedChoice]]) -> frozenset[str]:
    return frozenset().union(*(choice.sources for choices in layers for choice in choices))


def least(layers: Sequence[Sequence[CodedChoice]], known: Mapping[str, int]) -> Found:
    """The combination that takes the least flash, or nearly so: files are given up one by one."""

    def smallest(left_out: frozenset[str]) -> Found | None:
        places = _places_without(layers, left_out)
        if not all(places):
            return None
        allowed = [[choices[i] for i in at] for at, choices in zip(places, layers, strict=True)]
        parts = allocation.smallest(allowed)
        chosen = tuple(at[i] for at, i in zip(places, parts, strict=True))
        return _found(layers, chosen, code_bytes(_sources(layers, chosen), known))

    best = smallest(frozenset())
    assert best is not None
    left_out: frozenset[str] = frozenset()
    while True:
        tries = [
            (found, left_out | {name})
            for name in sorted(_sources(layers, best.chosen))
            if (found := smallest(left_out | {name}))
        ]
        better = min(tries, key=lambda item: item[0].size_bytes, default=None)
        if better is None or better[0].size_bytes >= best.size_bytes:
            return best
        best, left_out = better
