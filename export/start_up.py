"""Which layers get Huffman codes that are decoded once, at start-up, into RAM that is left.

Each such layer takes less flash and no more instructions than the same weights in flash, and as
much RAM as its decoded weights need. RAM goes first to the layers that save most flash for a byte
of it, then to those whose codes would be decoded again for every tile, then to faster forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edgefactor.export.arena.plan import ArenaPlan
from edgefactor.export.arena.scratch_fit import fit_scratch
from edgefactor.export.c_code.layer_code import STRIPE_MARK, CTarget, LayerCode
from edgefactor.export.conv_kernels.at_start import PACKED_STRUCT_BYTES
from edgefactor.export.ir import Graph

MARK_BYTES = 4
"""In front of decoded weights: what says that they are there."""
CODE_BYTES = 420
"""Of the decoder and of what hands decoded weights to a kernel."""
#: Of a layer's flash, what Huffman codes must leave no more of; any less if they were asked for.
GAIN, ASKED_GAIN = 0.9, 1.0
#: Codes by tile are replaced by codes at start-up of about the same size.
SAME_FLASH, SAME_FLASH_BYTES = 1.01, 64
#: Instructions may be so many times what they were.
SLOWDOWN: Mapping[str, float] = {"speed": 1.0, "balanced": 1.1, "size": float("inf")}
#: A faster form that takes more RAM leaves no more than this share of the instructions.
FASTER = 0.9
_BY_TILE = "huffman"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Form:
    """One layer, all its stripes, as it could be.

    Attributes:
        code: Operator name -> its C.
        flash: Estimate in bytes, decoders counted; stripes share their weights.
        stored: Of that weights, with what the decoder at start-up is told.
        instructions: Estimate of all stripes.
        ram: Of decoded weights.
    """

    code: Mapping[str, LayerCode]
    flash: int
    stored: int
    instructions: int
    ram: int

    @property
    def by_tile(self) -> bool:
        return any(layer.encoding == _BY_TILE for layer in self.code.values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """A layer that becomes another form, and what that gains for each byte of RAM."""

    layer: str
    form: _Form
    rank: int
    gain: float


def with_start_up(
    graph: Graph, code: Mapping[str, LayerCode], plan: ArenaPlan, target: CTarget
) -> tuple[dict[str, LayerCode], ArenaPlan]:
    """Decode weights at start-up where the RAM beside the arena allows and flash is saved.

    Args:
        graph: int8 Graph, operators in execution order.
        code: Operator name -> its C, scratch fitted.
        plan: Its arena.
        target: Policy and RAM; ``start_up_bytes`` is kept to.

    Returns:
        The C and its arena; as they were where nothing is gained.
    """
    held = decoded_bytes(code.values())
    free = target.start_up_bytes - plan.arena_bytes - MARK_BYTES - held
    layers = _layers(graph, code)
    chosen = _choose(layers, free, target)
    while chosen:
        fitted, found = _fit(graph, code, chosen, target)
        ram = MARK_BYTES + decoded_bytes(fitted.values())
        saved = sum(layers[name][0].stored - form.stored for name, form in chosen.items())
        if saved <= CODE_BYTES and not any(layers[name][0].by_tile for name in chosen):
            break
        if found.arena_bytes + ram <= target.start_up_bytes:
            return fitted, found
        # Another kernel needs more scratch: one layer less.
        chosen.popitem()
    return dict(code), plan


def decoded_bytes(code: Iterable[LayerCode]) -> int:
    """RAM of all decoded weights; those that several operators share once, the mark not counted."""
    sizes = {}
    for layer in code:
        if layer.packed is not None:
            content = layer.packed.stream.tobytes(), layer.packed.units.tobytes()
            sizes[content] = layer.packed.ram_bytes
    return sum(sizes.values())


def _fit(
    graph: Graph, code: Mapping[str, LayerCode], chosen: Mapping[str, _Form], target: CTarget
) -> tuple[dict[str, LayerCode], ArenaPlan]:
    """The network with these layers, in what RAM they leave."""
    merged = dict(code)
    for form in chosen.values():
        merged |= form.code
    left = target.start_up_bytes - MARK_BYTES - decoded_bytes(merged.values())
    limit = min(left, target.arena_bytes) if target.arena_bytes else left
    return fit_scratch(graph, merged, replace(target, arena_bytes=max(limit, 1)))


def _layers(graph: Graph, code: Mapping[str, LayerCode]) -> dict[str, tuple[_Form, ...]]:
    """Layer name -> what it is, then what else it could be, by RAM."""
    members: dict[str, list[str]] = {}
    for op in graph.ops:
        if code[op.name].at_start:
            members.setdefault(op.name.split(STRIPE_MARK)[0], []).append(op.name)
    found = {}
    for layer, names in members.items():
        offers = {name: {o.encoding: o for o in code[name].at_start} for name in names}
        common = set.intersection(*(set(by_name) for by_name in offers.values()))
        forms = [
            _form({name: _known(code[name], offers[name][encoding]) for name in names})
            for encoding in sorted(common)
        ]
        now = _form({name: _weighed(code[name]) for name in names})
        found[layer] = (now, *sorted(forms, key=lambda form: (form.ram, form.instructions)))
    return found


def _form(code: Mapping[str, LayerCode]) -> _Form:
    options = [layer.alternatives[0] for layer in code.values()]
    return _Form(
        code=code,
        flash=max(option.flash_bytes for option in options),
        stored=max(
            layer.weight_bytes + (PACKED_STRUCT_BYTES if layer.packed else 0)
            for layer in code.values()
        ),
        instructions=sum(option.instructions for option in options),
        ram=decoded_bytes(code.values()),
    )


def _weighed(layer: LayerCode) -> LayerCode:
    """With what else it could be among its alternatives."""
    offers = tuple(offer.alternatives[0] for offer in layer.at_start)
    return replace(layer, alternatives=(*layer.alternatives, *offers))


def _known(layer: LayerCode, offer: LayerCode) -> LayerCode:
    """An offer with what the layer was weighed against."""
    first = offer.alternatives[0]
    others = (o for o in _weighed(layer).alternatives if o is not first)
    return replace(offer, alternatives=(first, *others))


def _choose(
    layers: Mapping[str, tuple[_Form, ...]], free: int, target: CTarget
) -> dict[str, _Form]:
    """The form of each layer that changes, the most important first."""
    chosen: dict[str, _Form] = {}
    steps = [
        step
        for name, (now, *others) in layers.items()
        if (step := _first_step(name, now, others, target)) is not None
    ]
    for step in sorted(steps, key=lambda step: (step.rank, -step.gain, step.layer)):
        if step.form.ram <= free:
            chosen[step.layer] = step.form
            free -= step.form.ram
    if target.optimize == "size":
        return chosen
    faster = [
        _Step(
            layer=name,
            form=form,
            rank=0,
            gain=(chosen[name].instructions - form.instructions) / (form.ram - chosen[name].ram),
        )
        for name in chosen
        for form in layers[name][1:]
        if form.ram > chosen[name].ram
        and form.instructions <= FASTER * chosen[name].instructions
        and form.flash <= layers[name][0].flash
    ]
    for step in sorted(faster, key=lambda step: -step.gain):
        more = step.form.ram - chosen[step.layer].ram
        if more <= free and step.form.instructions < chosen[step.layer].instructions:
            chosen[step.layer] = step.form
            free -= more
    return chosen


def _first_step(name: str, now: _Form, others: Iterable[_Form], target: CTarget) -> _Step | None:
    """From what a layer is to the form that takes least RAM among those that are worth it."""
    gain = ASKED_GAIN if target.huffman == "start-up" else GAIN
    limit = SLOWDOWN[target.optimize] * now.instructions
    for form in others:
        if form.instructions > limit or not form.ram:
            continue
        if form.flash <= gain * now.flash and form.flash < now.flash:
            return _Step(layer=name, form=form, rank=0, gain=(now.flash - form.flash) / form.ram)
        same = SAME_FLASH * now.flash + SAME_FLASH_BYTES
        if now.by_tile and form.flash <= same and form.instructions < now.instructions:
            fewer = now.instructions - form.instructions
            return _Step(layer=name, form=form, rank=1, gain=fewer / form.ram)
    return None
