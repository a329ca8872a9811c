"""What training left in a module and inference does not need: settled into plain weights.

Parametrizations (``torch.nn.utils.parametrize``) become the weights that they compute. Observers
and fake quantization (``torch.ao.quantization``, after ``prepare_qat``) are taken out: an export
finds the ranges of its integers from the calibration data.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from edgefactor.errors import ModelError

_QUANTIZER_BASES = ("FakeQuantizeBase", "ObserverBase")
_QUANTIZER_PACKAGE = "torch.ao.quantization."


def settle(module: nn.Module, where: str) -> tuple[str, ...]:
    """Changes `module`, which is in evaluation mode, in place; says what was taken out.

    Raises:
        ModelError: If the weights that a parametrization gives cannot be computed.
    """
    for name, part in list(module.named_modules()):
        if not parametrize.is_parametrized(part):
            continue
        for tensor in list(part.parametrizations):
            try:
                parametrize.remove_parametrizations(part, tensor, leave_parametrized=True)
            except Exception as error:
                raise ModelError(
                    "The weights of a parametrized layer cannot be computed",
                    where=f"{where}, {name + '.' if name else ''}{tensor}",
                    found=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
                    if str(error).strip()
                    else type(error).__name__,
                    hint="Call torch.nn.utils.parametrize.remove_parametrizations before saving.",
                ) from error
    taken = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if _is_quantizer(child)
    ]
    for parent, name in taken:
        setattr(parent, name, nn.Identity())
    if not taken:
        return ()
    return (
        f"{len(taken)} observers and fake quantizations of quantization-aware training were left "
        "out: the ranges come from the calibration data.",
    )


def _is_quantizer(module: nn.Module) -> bool:
    # By name: importing torch.ao.quantization is slow, and PyTorch means to drop it.
    return any(
        base.__name__ in _QUANTIZER_BASES and base.__module__.startswith(_QUANTIZER_PACKAGE)
        for base in type(module).__mro__
    )
