"""Checks the JSON of an exported program for anything that PyTorch would evaluate.

PyTorch turns names into Python source, targets into attributes, sizes into sympy expressions (which
are evaluated), guards into code, and tree descriptions into imports. Here each of them must fit a
narrow grammar, or is dropped where the program does not need it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|")
_PLAIN = re.compile(r"[\w.:+\-/ ]*")
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?:[A-Za-z]\w*|__(?:and|or|xor|lshift|rshift)__"
    # Those of PyTorch's own operators that torch.export, with or without decomposition, leaves.
    r"|_(?:weight_norm(?:_interface)?|(?:log_|safe_)?softmax|unsafe_view|to_copy|euclidean_dist"
    r"|cdist_forward|adaptive_avg_pool[23]d|native_batch_norm_legit(?:_no_training)?"
    r"|scaled_dot_product_\w+|upsample_\w+|assert_tensor_metadata))\.[A-Za-z]\w*"
    r"|torch\.ops\.(?:prims|quantized_decomposed)\.[A-Za-z]\w*\.[A-Za-z]\w*"
    r"|torch\.ops\.higher_order\.[a-z]\w*"
    r"|torch\.sym_(?:max|min|not|float|int|ite|sum)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(?:ceil|floor|trunc)"
    r"|"
)
_FILE_OPERATORS = ("from_file", "save", "_print")
_KEPT_METADATA = ("stack_trace", "nn_module_stack", "torch_fn")
_FREE_TEXT = frozenset({*_KEPT_METADATA, "as_string", "as_strings", "torch_version"})
_CALLS = frozenset(
    "Symbol Integer Float Rational Add Mul Max Min Mod FloorDiv ModularIndexing CleanDiv CeilDiv "
    "PythonMod CeilToInt FloorToInt TruncToInt IntTrueDiv FloatTrueDiv ToFloat Eq Ne Equality "
    "Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan And Or Not".split()
)
_CONSTANTS = frozenset({"true", "false", "oo", "int_oo"})
_SYMBOL = re.compile(r"[a-z]{1,3}\d+")
_TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_MAX_DEPTH = 200


class Unsafe(Exception):  # noqa: N818 - a verdict for `archive`, which words the error
    """The archive would make PyTorch unpickle or evaluate something."""


def clean_program(program: dict[str, Any]) -> dict[str, Any]:
    """The program without guards and unneeded metadata, everything else checked.

    Raises:
        Unsafe: If a string in it does not fit the grammar of its place.
    """
    program = {**program, "guards_code": []}
    if program["graph_module"].get("treespec_namedtuple_fields"):
        raise Unsafe("it takes or returns a named tuple, whose class would be imported")
    return _clean(program, "", 0)  # type: ignore[no-any-return]


def _clean(value: Any, key: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise Unsafe("its program is nested too deeply")
    if isinstance(value, dict):
        if key == "metadata":
            return {name: str(value[name]) for name in _KEPT_METADATA if name in value}
        for name in value:
            _match(_PLAIN, name, "the key")
        return {name: _clean(item, name, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, key, depth + 1) for item in value]
    if isinstance(value, str):
        _check_text(value, key)
    return value


def _check_text(text: str, key: str) -> None:
    if key in _FREE_TEXT:
        return
    if key in ("target", "as_operator"):
        _match(_TARGET, text, "the operator")
        if text.split(".")[3:4] and text.split(".")[3] in _FILE_OPERATORS:
            raise Unsafe(f"it calls the operator {text}")
    elif key == "expr_str":
        _check_expression(text)
    elif key in ("in_spec", "out_spec"):
        for node in _tree_nodes(json.loads(text)[1]):
            context = json.loads(node["context"]) if node["context"] else None
            keys = context if isinstance(context, list) else []
            plain = context is None or all(isinstance(name, str | int) for name in keys)
            if node["type"] not in _TREE_TYPES or not plain or (context and not keys):
                raise Unsafe(f"it takes or returns a {node['type']}")
    elif key in ("name", "as_name", "forward_arg_names"):
        _match(_IDENTIFIER, text, "the name")
    else:
        _match(_PLAIN, text, f"the entry {key}")


def _tree_nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for child in tree["children_spec"]:
        yield from _tree_nodes(child)


def _check_expression(text: str) -> None:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise Unsafe(f"a size is the expression {text[:60]!r}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            allowed = isinstance(node.func, ast.Name) and node.func.id in _CALLS
        elif isinstance(node, ast.Name):
            known = node.id in _CALLS | _CONSTANTS
            allowed = known or _SYMBOL.fullmatch(node.id) is not None
        elif isinstance(node, ast.Constant):
            symbol = isinstance(node.value, str) and _SYMBOL.fullmatch(node.value)
            allowed = bool(symbol) or isinstance(node.value, int | float)
        else:
            # Powers are left out: 9**9**9 would never end.
            allowed = isinstance(
                node,
                ast.Expression
                | ast.BinOp
                | ast.UnaryOp
                | ast.Compare
                | ast.keyword
                | ast.expr_context
                | ast.cmpop
                | ast.Add
                | ast.Sub
                | ast.Mult
                | ast.FloorDiv
                | ast.Div
                | ast.Mod
                | ast.USub,
            )
        if not allowed:
            raise Unsafe(f"a size is the expression {text[:60]!r}")


def _match(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise Unsafe(f"{what} {text[:60]!r} in its program is not one that edgefactor knows")
