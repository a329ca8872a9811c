"""Makes the int8 Graph fit the RAM: order of operators, stripes of rows where maps are large."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgefactor.export.arena.ordering import has_choice, order_for_memory
from edgefactor.export.arena.stripe_search import fit_arena, recorded
from edgefactor.export.c_code.code_cache import CodeCache
from edgefactor.export.c_code.layer_code import CTarget, LayerCode
from edgefactor.export.ir import Graph
from edgefactor.export.validate import validate
from edgefactor.pipeline.config import ExportOptions, Progress

#: RAM left for stack and variables beside the arena, which are measured only later.
RESERVE_BYTES = 2048


def arena_budget(ram_bytes: int) -> int:
    """What the arena may take of the RAM; 0 for no limit.

    Args:
        ram_bytes: The budget for arena, stack and variables; 0 for none.
    """
    return max(ram_bytes - RESERVE_BYTES, 1) if ram_bytes else 0


def start_up_budget(options: ExportOptions, ram_bytes: int) -> int:
    """What the arena and weights that are decoded at start-up may take together; 0 for none.

    Args:
        options: Whether such weights are wanted, and whether a budget was given.
        ram_bytes: The budget, or the target's RAM.
    """
    wanted = options.huffman == "start-up" or (options.huffman == "auto" and options.ram_bytes)
    return arena_budget(ram_bytes) if wanted else 0


def start_up_notes(code: Iterable[LayerCode], prepared_bytes: int, huffman: str) -> tuple[str, ...]:
    """What the user should know of weights that are decoded at start-up.

    Args:
        code: Of the operators.
        prepared_bytes: RAM for their weights.
        huffman: What was asked for.
    """
    if any(layer.packed is not None for layer in code):
        return (
            "Weights in Huffman codes are decoded once, by NAME_prepare, into "
            f"{prepared_bytes:,} bytes of RAM beside the arena.",
        )
    if huffman == "start-up":
        return ("--huffman start-up: no layer becomes smaller by it within the RAM.",)
    return ()


def fit_ram(graph: Graph, target: CTarget, progress: Progress) -> Graph:
    """Order the operators, and run the first by stripes if the arena would not fit the RAM.

    Args:
        graph: int8 Graph.
        target: What the C is for, and what the arena may take.
        progress: Called with the name of the stage.
    """
    if not target.arena_bytes and not has_choice(graph):
        return graph
    progress("fitting the memory")
    target = replace(target, start_up_bytes=0)
    cache = CodeCache(target=target)
    if has_choice(graph):
        graph = validate(order_for_memory(graph, cache.least_code(graph)), "order", quantized=True)
    if not target.arena_bytes:
        return graph
    fitted = fit_arena(graph, target, target.arena_bytes, cache=cache)
    return graph if fitted is graph else validate(fitted, "stripes", quantized=True)


def stripe_notes(graph: Graph) -> tuple[str, ...]:
    """What the user should know of it, in a sentence."""
    found = recorded(graph)
    if found is None:
        return ()
    way = (
        "rows that two stripes need are kept"
        if found["borders"] == "keep"
        else "rows that two stripes need are computed twice"
    )
    notes = (
        f"To save RAM the layers up to {found['until']} run in {found['stripes']} stripes of rows: "
        f"arena {found['arena_before_bytes']:,} -> {found['arena_bytes']:,} bytes, "
        f"{found['extra_macs_percent']} % more multiply-accumulates ({way}).",
    )
    if not found["input_by_rows"]:
        return notes
    return (*notes, "The arena does not hold the input: hand it over by rows (NAME_run_rows).")
