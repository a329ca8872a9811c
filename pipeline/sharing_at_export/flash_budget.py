"""``--share auto``: how far each layer's weights are shared so that the image fits the flash.

Each layer can stay as it is or take one of several forms of sharing. What a form costs is measured:
the noise that one form of the layer alone makes at the network's outputs on calibration inputs,
scaled to the other forms by the errors of their weights. What a form takes is what the exporter's
cost model stores for it. The best combination is found by dynamic programming (``allocation``), the
image is linked, and the budget of the weights is corrected by what the rest of it really takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget
from edgefactor.export.encodings.vector_code import MOST_VECTORS
from edgefactor.export.ir import Graph, constant
from edgefactor.export.onnx_writer import write_onnx
from edgefactor.export.ops.conv import Conv2D
from edgefactor.pipeline.calibrate import Sample
from edgefactor.pipeline.config import Progress
from edgefactor.pipeline.sharing_at_export.allocation import Choice, allocate, smallest
from edgefactor.pipeline.sharing_at_export.share_codes import (
    Codes,
    Floats,
    Moments,
    best_codes,
    change_codes,
    code_weights,
)
from edgefactor.pipeline.sharing_at_export.uniform_codes import best_progression
from edgefactor.pipeline.sharing_at_export.vector_codes import LEAST_REPETITION, best_vectors

METADATA = "flash_budget"
"""Key of a Graph's metadata: what ``fit_flash`` decided, as JSON."""

PROBE_VALUES = 16
"""Of the form whose noise is measured."""
PROBE_SAMPLES = 16
VALUES = (64, 32, 16, 8, 4, 2)
WIDTHS = (2, 4)
BITS = (4, 2)
ROUNDS = 4
CODE_BYTES = 12_000
"""Code and tables of an image, where nothing can be linked: a guess."""
_LEAST_NOISE = 1e-12

Measure = Callable[[Graph], tuple[int, int] | None]
"""Graph -> bytes of its linked image and of the weights in it; None without a compiler."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """One form of one layer's weights."""

    text: str
    codes: Codes
    error: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layer:
    """A layer with its forms, the first one as it is."""

    name: str
    forms: tuple[Form, ...]
    noise: float


def forms_of(codes: Codes, cost: Floats, *, depthwise: bool) -> tuple[Form, ...]:
    """The forms that a layer's weights can take; the first one leaves them as they are.

    Args:
        codes: int8 codes (O, kh, kw, I).
        cost: Of a unit error of each.
        depthwise: Vectors do not fit then.
    """
    weights = code_weights(codes, cost)
    found = {"int8": codes}
    for values in VALUES:
        if len(np.unique(codes)) > values:
            found[f"{values} values"] = best_codes(weights, values)[codes + 128]
    for width in () if depthwise else WIDTHS:
        # A table of 256 vectors takes its place, too.
        if codes[0].size % width == 0 and codes.size >= LEAST_REPETITION * MOST_VECTORS * width:
            vectors = best_vectors(codes.reshape(-1, width), cost.reshape(-1, width), MOST_VECTORS)
            found[f"vectors of {width}"] = vectors.reshape(codes.shape)
    for bits in BITS:
        found[f"{bits} bits"] = best_progression(weights, bits)[codes + 128]
    return tuple(
        Form(text=text, codes=new, error=float((cost * (new - codes) ** 2).sum()))
        for text, new in found.items()
    )


def fit_flash(
    graph: Graph,
    moments: Mapping[str, Moments],
    samples: Sequence[Sample],
    target: CTarget,
    measure: Measure,
    *,
    flash_bytes: int,
    keep: Sequence[str],
    progress: Progress,
) -> Graph:
    """Share weights just as far as the flash asks for.

    Args:
        graph: int8 Graph.
        moments: Of the input of each convolution, by tensor name.
        samples: Calibration samples of the float inputs.
        target: What the C is for.
        measure: Links a Graph's image.
        flash_bytes: The budget of the image.
        keep: Patterns of layer names that stay as they are.
        progress: Called with the name of each stage.

    Returns:
        The Graph with its weights shared, or as it was if it fits. If it cannot fit, every layer
        has its smallest form; ``flash_notes`` says what is missing.

    Raises:
        OptionError: A pattern matches no layer.
    """
    progress(f"fitting {flash_bytes:,} bytes of flash")
    before = measure(graph)
    if before is not None and before[0] <= flash_bytes:
        return _recorded(graph, flash_bytes, before[0], {})
    layers = _layers(graph, moments, samples, keep, progress)
    choices = [_choices(graph, layer, target) for layer in layers]
    other = CODE_BYTES if before is None else before[0] - before[1]
    best: tuple[Graph, int | None, dict[str, str]] | None = None
    budget = flash_bytes - other
    for _ in range(ROUNDS):
        chosen = allocate(choices, max(budget, 0))
        forms = {
            layer.name: layer.forms[index]
            for layer, index in zip(layers, chosen or smallest(choices), strict=True)
        }
        fitted = _with_forms(graph, moments, forms)
        linked = measure(fitted)
        texts = {name: form.text for name, form in forms.items()}
        if linked is None:
            return _recorded(fitted, flash_bytes, None, texts)
        progress(f"linked: {linked[0]:,} bytes")
        spare = flash_bytes - linked[0]
        if spare >= 0 or best is None or chosen is None:
            best = fitted, linked[0], texts
        if chosen is None or 0 <= spare <= flash_bytes // 200:
            break
        budget += spare
    assert best is not None
    return _recorded(best[0], flash_bytes, best[1], best[2])


def _layers(
    graph: Graph,
    moments: Mapping[str, Moments],
    samples: Sequence[Sample],
    keep: Sequence[str],
    progress: Progress,
) -> list[_Layer]:
    """Every layer with its forms, and the noise at the outputs for a unit error of its weights."""
    seen: dict[str, tuple[Codes, Floats, bool]] = {}

    def look(op: Conv2D, codes: Codes, cost: Floats) -> None:
        seen[op.name] = codes, cost, op.groups > 1 and codes.shape[-1] == 1

    change_codes(graph, moments, look, keep=keep)
    few = samples[:PROBE_SAMPLES]
    expected = _outputs(graph, few)
    layers = []
    for name, (codes, cost, depthwise) in seen.items():
        progress(f"looking at {name}")
        forms = forms_of(codes, cost, depthwise=depthwise)
        probe = next((f for f in forms if f.text == f"{PROBE_VALUES} values"), forms[-1])
        noise = 0.0
        if probe.error > 0:
            found = _outputs(_with_forms(graph, moments, {name: probe}), few)
            noise = max(_relative_noise(expected, found), _LEAST_NOISE) / probe.error
        layers.append(_Layer(name=name, forms=forms, noise=noise))
    return layers


def _outputs(graph: Graph, samples: Sequence[Sample]) -> list[Floats]:
    """The outputs of the int8 model in ONNX Runtime, which is quick, one array an output."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        write_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = [session.run(None, dict(sample)) for sample in samples]
    return [np.stack([np.asarray(row[i], np.float64) for row in rows]) for i in range(len(rows[0]))]


def _relative_noise(expected: Sequence[Floats], found: Sequence[Floats]) -> float:
    """Power of the difference over power of the signal, summed over the outputs."""
    return sum(
        float(((a - b) ** 2).sum() / max((a**2).sum(), _LEAST_NOISE))
        for a, b in zip(expected, found, strict=True)
    )


def _choices(graph: Graph, layer: _Layer, target: CTarget) -> list[Choice]:
    """What each form takes when the exporter has chosen its encoding."""
    op = next(op for op in graph.ops if op.name == layer.name)
    weights = graph.tensors[op.inputs[1]]
    found = []
    for form in layer.forms:
        changed = constant(weights.name, form.codes.astype(np.int8), weights.quantization)
        tensors = {**graph.tensors, weights.name: changed}
        code = ops.family_of(op).layer_code(op, graph.edit(tensors=tensors), target)
        found.append(Choice(size_bytes=code.weight_bytes, loss=layer.noise * form.error))
    return found


def _with_forms(graph: Graph, moments: Mapping[str, Moments], forms: Mapping[str, Form]) -> Graph:
    """The Graph with these codes, their mean errors taken out by the biases."""
    changed = {name: form for name, form in forms.items() if form.error > 0}
    return change_codes(
        graph,
        moments,
        lambda op, codes, cost: changed[op.name].codes if op.name in changed else None,
    )


def _recorded(graph: Graph, flash_bytes: int, found: int | None, texts: Mapping[str, str]) -> Graph:
    facts = {"budget_bytes": flash_bytes, "linked_bytes": found, "layers": dict(texts)}
    return replace(graph, metadata={**graph.metadata, METADATA: json.dumps(facts)})


def flash_notes(graph: Graph) -> tuple[str, ...]:
    """What ``fit_flash`` decided, in sentences."""
    text = graph.metadata.get(METADATA)
    if text is None:
        return ()
    facts = json.loads(text)
    budget, found, layers = facts["budget_bytes"], facts["linked_bytes"], facts["layers"]
    if not layers:
        return (f"--share auto: the weights fit {budget:,} bytes of flash as they are.",)
    shared = "; ".join(f"{name}: {form}" for name, form in layers.items())
    notes = (f"--share auto, weights for {budget:,} bytes of flash: {shared}.",)
    if found is None:
        return (*notes, "--share auto could not link the image; what its code takes is a guess.")
    if found > budget:
        over = f"{found - budget:,} bytes more than {budget:,}"
        return (*notes, f"--share auto: even the smallest forms take {over}.")
    return notes
