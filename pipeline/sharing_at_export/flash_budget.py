"""``--share auto``: how far each layer's weights are shared so that the image fits the flash.

Each layer can stay as it is or take one of several forms of sharing (``forms``). What a form costs
is measured: the noise that it alone makes at the network's outputs on calibration inputs. What a
form takes is what the exporter's cost model stores for it, and the code of its kernel, known from
linked images. The best combination is searched (``form_search``) and linked, until what the
estimate left out is known. Then all layers together are trained towards the float network
(``tuning``), which takes no labels and mends most of what the forms cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgefactor.errors import BudgetError
from edgefactor.export import ops
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Graph
from edgefactor.pipeline.calibrate import Sample
from edgefactor.pipeline.config import Progress
from edgefactor.pipeline.sharing_at_export.form_search import (
    CodedChoice,
    Found,
    code_bytes,
    least,
    search,
)
from edgefactor.pipeline.sharing_at_export.forms import Form
from edgefactor.pipeline.sharing_at_export.output_noise import output_noise
from edgefactor.pipeline.sharing_at_export.share_codes import Moments
from edgefactor.pipeline.sharing_at_export.shareable import (
    ShareableLayer,
    shareable_layers,
    with_weights,
)
from edgefactor.pipeline.sharing_at_export.torch_network import torch_network
from edgefactor.pipeline.sharing_at_export.tuning import Tuned, tune

METADATA = "flash_budget"
"""Key of a Graph's metadata: what ``fit_flash`` decided, as JSON."""

ROUNDS = 5
TUNINGS = 3
"""At most: after the first, what it changed may need a few bytes more."""
CODE_BYTES = 12_000
"""Code and tables of an image, where nothing can be linked: a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What an image takes.

    Attributes:
        total_bytes: Of flash.
        weights_bytes: Of the layers' weights in it.
        sources: Code and constants of each C file of the kernels.
    """

    total_bytes: int
    weights_bytes: int
    sources: Mapping[str, int]


Measure = Callable[[Graph], Linked | None]
"""Graph -> its linked image; None without a compiler."""


def fit_flash(
    graph: Graph,
    int8: Graph,
    moments: Mapping[str, Moments],
    samples: Sequence[Sample],
    target: CTarget,
    measure: Measure,
    *,
    flash_bytes: int,
    keep: Sequence[str],
    tuned: bool,
    progress: Progress,
) -> Graph:
    """Share weights just as far as the flash asks for.

    Args:
        graph: Float Graph.
        int8: The same network as integers.
        moments: Of the input of each convolution, by tensor name.
        samples: Calibration samples of the float inputs.
        target: What the C is for.
        measure: Links a Graph's image.
        flash_bytes: The budget of the image.
        keep: Patterns of layer names that stay as they are.
        tuned: Whether to train the layers towards the float network on the samples.
        progress: Called with the name of each stage.

    Returns:
        The integer Graph with its weights shared, or as it was if it fits.

    Raises:
        OptionError: A pattern matches no layer.
        BudgetError: Even the smallest forms do not fit; it says what they take.
    """
    progress(f"fitting {flash_bytes:,} bytes of flash")
    before = measure(int8)
    if before is not None and before.total_bytes <= flash_bytes:
        return _recorded(int8, flash_bytes, before.total_bytes, {}, tuned=False)
    layers = shareable_layers(graph, int8, moments, keep)
    network = torch_network(graph)
    fit = _Fit(int8, layers, target, measure, flash_bytes, before, progress)
    fit.require_a_way()
    fit.weigh(output_noise(graph, network, layers, samples, progress))
    forms = fit.forms()
    for _ in range(TUNINGS if tuned and layers else 0):
        if network is None:
            break
        progress("tuning towards the float network")
        found = tune(network, fit.start(forms), samples)
        if found is None:
            break
        fitted = with_weights(int8, {name: (t.form, t.bias) for name, t in found.items()})
        over = fit.over(fitted)
        if over <= 0:
            return fit.recorded(fitted, forms, tuned=True)
        # What a channel's numbers pack to depends on their values.
        fit.margin_bytes += over
        try:
            forms = fit.forms()
        except BudgetError:
            break  # without training, what there is fits
    return fit.recorded(fit.placed(forms), forms, tuned=False)


class _Fit:
    """The search for forms, and what was learnt from linked images."""

    def __init__(
        self,
        int8: Graph,
        layers: Sequence[ShareableLayer],
        target: CTarget,
        measure: Measure,
        flash_bytes: int,
        before: Linked | None,
        progress: Progress,
    ) -> None:
        self.int8, self.layers, self.target = int8, layers, target
        self.measure, self.flash_bytes, self.progress = measure, flash_bytes, progress
        self.choices = [self._choices(layer) for layer in layers]
        self.margin_bytes = 0
        #: Of the last image that fitted.
        self.linked_bytes: int | None = None
        self.known: dict[str, int] = {}
        self.budget_bytes = flash_bytes - CODE_BYTES
        if before is None:
            sources = [c.sources for choices in self.choices for c in choices]
            self.known = dict.fromkeys(frozenset().union(*sources), 0)
        else:
            self._learn(before, [0] * len(layers))

    def start(self, forms: Mapping[str, Form]) -> dict[str, Tuned]:
        """Where tuning begins."""
        return {
            layer.name: Tuned(
                form=forms[layer.name],
                bias=layer.bias_of(forms[layer.name]),
                weights=layer.weights,
            )
            for layer in self.layers
        }

    def placed(self, forms: Mapping[str, Form]) -> Graph:
        """The Graph with these forms, mean errors taken out by the biases."""
        layers = {layer.name: layer for layer in self.layers}
        return with_weights(
            self.int8,
            {name: (f, layers[name].bias_of(f)) for name, f in forms.items() if f.is_shared},
        )

    def require_a_way(self) -> None:
        """See whether anything fits, before the network is run.

        Raises:
            BudgetError: Nothing does.
        """
        if search(self.choices, self.budget_bytes, self.known) is None:
            self.forms()

    def forms(self) -> dict[str, Form]:
        """The best forms whose image fits.

        Raises:
            BudgetError: None fits.
        """
        best: Found | None = None
        best_bytes = least_bytes = 0
        impossible = False
        for _ in range(ROUNDS):
            found = search(self.choices, self.budget_bytes, self.known)
            if found is None and impossible:
                break
            impossible = found is None
            found = found or least(self.choices, self.known)
            linked = self.measure(self.placed(self._forms(found.chosen)))
            if linked is None:
                return self._forms(found.chosen)
            self.progress(f"linked: {linked.total_bytes:,} bytes")
            self._learn(linked, found.chosen)
            least_bytes = min(least_bytes or linked.total_bytes, linked.total_bytes)
            if linked.total_bytes + self.margin_bytes > self.flash_bytes:
                continue
            if best is not None and found.loss >= best.loss:
                break
            best, best_bytes = found, linked.total_bytes
        if best is None:
            raise BudgetError(
                "The weights do not fit the flash budget in any form.",
                where="--share auto",
                found=f"{least_bytes:,} bytes at least",
                expected=f"at most {self.flash_bytes:,} bytes",
                hint=f"give --flash {least_bytes + self.margin_bytes} or more, or make the network "
                "smaller (edgefactor compress)",
            )
        self.linked_bytes = best_bytes
        return self._forms(best.chosen)

    def over(self, fitted: Graph) -> int:
        """By how many bytes a Graph's image is too large."""
        linked = self.measure(fitted)
        if linked is None:
            return 0
        self.progress(f"linked: {linked.total_bytes:,} bytes")
        over = linked.total_bytes - self.flash_bytes
        if over <= 0:
            self.linked_bytes = linked.total_bytes
        return over

    def recorded(self, graph: Graph, forms: Mapping[str, Form], *, tuned: bool) -> Graph:
        texts = {name: form.text for name, form in forms.items()}
        return _recorded(graph, self.flash_bytes, self.linked_bytes, texts, tuned=tuned)

    def _forms(self, chosen: Sequence[int]) -> dict[str, Form]:
        return {
            layer.name: layer.forms[index] for layer, index in zip(self.layers, chosen, strict=True)
        }

    def _learn(self, linked: Linked, chosen: Sequence[int]) -> None:
        """What kernels take, and what is left for them and the weights of the layers."""
        self.known |= linked.sources
        taken = [choices[i] for choices, i in zip(self.choices, chosen, strict=True)]
        sources = frozenset().union(*(choice.sources for choice in taken))
        estimated = sum(choice.size_bytes for choice in taken) + code_bytes(sources, self.known)
        other = linked.total_bytes - estimated
        self.budget_bytes = self.flash_bytes - self.margin_bytes - other

    def weigh(self, losses: Mapping[str, Sequence[float]]) -> None:
        """Say what each form of each layer costs."""
        self.choices = [
            [
                replace(choice, loss=loss)
                for choice, loss in zip(choices, losses[layer.name], strict=True)
            ]
            for layer, choices in zip(self.layers, self.choices, strict=True)
        ]

    def _choices(self, layer: ShareableLayer) -> list[CodedChoice]:
        """What each form takes when the exporter has chosen its encoding; what it costs is open."""
        found = []
        for form in layer.forms:
            changed = {layer.name: (form, layer.bias_of(form))} if form.is_shared else {}
            graph = with_weights(self.int8, changed)
            code = _layer_code(graph, layer.name, self.target)
            sources = frozenset(code.sources)
            found.append(CodedChoice(size_bytes=code.weight_bytes, loss=0.0, sources=sources))
        return found


def _layer_code(graph: Graph, name: str, target: CTarget) -> LayerCode:
    op = next(op for op in graph.ops if op.name == name)
    return ops.family_of(op).layer_code(op, graph, target)


def _recorded(
    graph: Graph, flash_bytes: int, found: int | None, texts: Mapping[str, str], *, tuned: bool
) -> Graph:
    facts = {
        "budget_bytes": flash_bytes,
        "linked_bytes": found,
        "layers": dict(texts),
        "tuned": tuned,
    }
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
    notes = [f"--share auto, weights for {budget:,} bytes of flash: {shared}."]
    if found is None:
        notes.append("--share auto could not link the image; what its code takes is a guess.")
    if not facts.get("tuned", False):
        notes.append("--share auto did not train the weights towards the float network.")
    return tuple(notes)
