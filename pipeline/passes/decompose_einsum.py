"""Einsum of any equation as products of two tensors, which the lowering takes, sums and transposes.

A product of two tensors with one axis each for rows, columns and depth stays an Einsum: the family
``MatMul`` reads it in any layout. What is summed away of one tensor alone is summed first; several
axes of a kind are joined into one; a product without a sum is a broadcast one; a constant matrix
becomes the weights of a MatMul. More than two tensors are multiplied from left to right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from edgefactor.pipeline.passes.parts import Parts

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: A value and the letters of its axes.
Operand = tuple[str, str]


def einsum(parts: Parts) -> bool:
    """The rule of ``decompose`` for Einsum; False for what stays as it is.

    A letter that occurs twice in one operand, which takes a diagonal, is left for the error of the
    lowering.
    """
    names = list(parts.node.input)
    shapes = [parts.graph.shapes[name] for name in names]
    equation = parts.attribute("equation", b"").decode().replace(" ", "")
    terms, result = _terms(equation, [len(shape) for shape in shapes])
    if any(len(set(term)) < len(term) for term in (*terms, result)):
        return False
    constants = [name in parts.graph.constants for name in names]
    if len(terms) == 2 and "." not in equation and "->" in equation:
        if not any(constants) and _is_plain(terms[0], terms[1], set(result)):
            return False
    product, *others = zip(names, terms, strict=True)
    for index, other in enumerate(others, 1):
        needed = set(result).union(*terms[index + 1 :])
        product = _product(parts, product, other, needed)
    product = _summed(parts, product, set(result))
    value = _ordered(parts, product, result)
    if not parts.nodes:
        parts.add("Identity", [value], parts.graph.shapes[value])
    return True


def _terms(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """Letters of the operands and of the result, with an ellipsis written as letters."""
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    free = [letter for letter in _LETTERS if letter not in equation]
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    # The axes of an ellipsis are aligned at their ends.
    most = max((n for term, n in zip(terms, hidden, strict=True) if "..." in term), default=0)
    common = "".join(free[:most])
    terms = [
        term.replace("...", common[most - count :])
        for term, count in zip(terms, hidden, strict=True)
    ]
    if arrow:
        return terms, result.replace("...", common)
    once = Counter("".join(terms))
    return terms, common + "".join(
        sorted(letter for letter, count in once.items() if count == 1 and letter not in common)
    )


def _kinds(first: str, second: str, needed: Iterable[str]) -> tuple[str, str, str, str]:
    """Letters of batch, rows, columns and depth of a product."""
    kept = set(needed)
    batch = "".join(c for c in first if c in second and c in kept)
    rows = "".join(c for c in first if c not in second)
    columns = "".join(c for c in second if c not in first)
    return batch, rows, columns, "".join(c for c in first if c in second and c not in kept)


def _is_plain(first: str, second: str, needed: set[str]) -> bool:
    """Whether a product has at most one axis each for rows, columns and depth, all kept."""
    _, rows, columns, depth = _kinds(first, second, needed)
    return set(rows + columns) <= needed and max(map(len, (rows, columns, depth))) <= 1


def _summed(parts: Parts, operand: Operand, needed: set[str]) -> Operand:
    """Without the axes that nothing needs."""
    value, term = operand
    axes = [index for index, letter in enumerate(term) if letter not in needed]
    if not axes:
        return operand
    kept = "".join(letter for letter in term if letter in needed)
    shape = parts.graph.shapes[value]
    out = tuple(size for index, size in enumerate(shape) if index not in axes)
    listed = parts.constant(np.array(axes, np.int64))
    return parts.add("ReduceSum", [value, listed], out, keepdims=0), kept


def _ordered(parts: Parts, operand: Operand, wanted: str) -> str:
    """The value with its axes in another order."""
    value, term = operand
    if term == wanted:
        return value
    perm = [term.index(letter) for letter in wanted]
    shape = parts.graph.shapes[value]
    if value in parts.graph.constants:
        turned = np.ascontiguousarray(parts.graph.constants[value].transpose(perm))
        return _constant(parts, turned)
    return parts.add("Transpose", [value], tuple(shape[axis] for axis in perm), perm=perm)


def _shaped(parts: Parts, value: str, shape: tuple[int, ...]) -> str:
    if parts.graph.shapes[value] == shape:
        return value
    if value in parts.graph.constants:
        return _constant(parts, parts.graph.constants[value].reshape(shape))
    return parts.reshape(value, shape)


def _constant(parts: Parts, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    name = parts.constant(array)
    parts.graph.shapes[name] = array.shape
    return name


def _product(parts: Parts, first: Operand, second: Operand, needed: set[str]) -> Operand:
    """The product of two operands, with the axes that the rest of the equation needs."""
    if first[0] in parts.graph.constants:
        first, second = second, first
    first = _summed(parts, first, needed | set(second[1]))
    second = _summed(parts, second, needed | set(first[1]))
    batch, rows, columns, depth = _kinds(first[1], second[1], needed)
    shapes = parts.graph.shapes
    sizes = {
        letter: max(size, shapes[second[0]][second[1].index(letter)] if letter in second[1] else 1)
        for letter, size in zip(first[1], shapes[first[0]], strict=True)
    }
    sizes |= {c: shapes[second[0]][second[1].index(c)] for c in columns}
    if not depth:
        return _broadcast(parts, first, second, columns, sizes)
    constant = second[0] in parts.graph.constants and not batch
    if not constant and max(map(len, (rows, columns, depth))) <= 1:
        term = batch + rows + columns
        equation = f"{first[1]},{second[1]}->{term}"
        shape = tuple(sizes[letter] for letter in term)
        return parts.add("Einsum", [first[0], second[0]], shape, equation=equation), term
    joined = [int(np.prod([sizes[c] for c in letters])) for letters in (rows, depth, columns)]
    beside = tuple(sizes[letter] for letter in batch)
    # A matrix of weights is applied to all rows; they need not be joined.
    above = tuple(sizes[c] for c in rows) if constant else (joined[0],)
    a = _shaped(parts, _ordered(parts, first, batch + rows + depth), (*beside, *above, joined[1]))
    b = _shaped(parts, _ordered(parts, second, batch + depth + columns), (*beside, *joined[1:]))
    product = parts.add("MatMul", [a, b], (*beside, *above, joined[2]))
    term = batch + rows + columns
    return _shaped(parts, product, tuple(sizes[letter] for letter in term)), term


def _broadcast(
    parts: Parts, first: Operand, second: Operand, columns: str, sizes: dict[str, int]
) -> Operand:
    """A product in which nothing is summed: each operand has axes of 1 for the other's letters."""
    term = first[1] + columns
    shapes = parts.graph.shapes
    a = _shaped(parts, first[0], (*shapes[first[0]], *(1,) * len(columns)))
    order = "".join(letter for letter in term if letter in second[1])
    b = _ordered(parts, second, order)
    b = _shaped(parts, b, tuple(sizes[c] if c in order else 1 for c in term))
    return parts.add("Mul", [a, b], tuple(sizes[letter] for letter in term)), term
