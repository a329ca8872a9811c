"""Which form of weight sharing at export the options ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from edgefactor.errors import OptionError
from edgefactor.export.ir import Graph
from edgefactor.pipeline.config import ExportOptions
from edgefactor.pipeline.sharing_at_export.share_codes import Moments, share_codes
from edgefactor.pipeline.sharing_at_export.uniform_codes import share_uniform
from edgefactor.pipeline.sharing_at_export.vector_codes import share_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """A form of sharing: what to call it, and int8 Graph -> int8 Graph."""

    text: str
    apply: Callable[[Graph, Mapping[str, Moments]], Graph]


def sharing_of(options: ExportOptions) -> Sharing | None:
    """The one form that is asked for, if any; ``--share auto`` is many (``flash_budget``).

    Raises:
        OptionError: More than one is asked for.
    """
    forms = {
        "--share": options.share and (f"{options.share} values", share_codes, "values"),
        "--share-vectors": options.share_vectors
        and (f"256 vectors of {options.share_vectors}", share_vectors, "width"),
        "--bits": options.bits and (f"{options.bits} bits, evenly spaced", share_uniform, "bits"),
    }
    asked = {option: form for option, form in forms.items() if form}
    if len(asked) > 1:
        raise OptionError(
            "Weights can be shared in one way only.",
            found=" and ".join(asked),
            expected="one of them",
        )
    if options.share == "auto":
        return None
    for option, form in asked.items():
        text, function, name = form
        number = getattr(options, option.removeprefix("--").replace("-", "_"))
        return Sharing(text=text, apply=partial(function, **{name: number}, keep=options.keep))
    return None
