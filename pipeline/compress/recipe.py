"""Recipes: the ordered list of steps of one compression, from TOML or by a shipped name."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgefactor.errors import OptionError
from edgefactor.pipeline.compress.method import Method, Step, parse_options

_PACKAGE = "edgefactor.pipeline.compress.recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done to a model, in which order.

    Attributes:
        name: From the file, or the shipped name.
        title: One line for listings.
        steps: In order.
    """

    name: str
    title: str = ""
    steps: tuple[Step, ...]


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with edgefactor."""
    folder = resources.files(_PACKAGE)
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in folder.iterdir()
            if entry.name.endswith(".toml")
        )
    )


def load_recipe(place: str, methods: Mapping[str, Method]) -> Recipe:
    """Reads a TOML file, or a shipped recipe by its name.

    Raises:
        OptionError: If there is none, it is no TOML, or it names an unknown method or option.
    """
    path = Path(place)
    if path.suffix == ".toml" or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(
                "The recipe cannot be read", where=f"--recipe {place}", found=str(error)
            ) from error
        return parse_recipe(text, methods, name=path.stem, where=f"--recipe {place}")
    names = shipped_recipes()
    if place not in names:
        close = difflib.get_close_matches(place, names, n=1)
        raise OptionError(
            "There is no such recipe",
            where="--recipe",
            found=place,
            expected=f"a .toml file, or one of {', '.join(names)}",
            hint=f"Did you mean {close[0]}?" if close else "",
        )
    text = (resources.files(_PACKAGE) / f"{place}.toml").read_text(encoding="utf-8")
    return parse_recipe(text, methods, name=place, where=f"recipe {place}")


def parse_recipe(text: str, methods: Mapping[str, Method], *, name: str, where: str) -> Recipe:
    """Reads a recipe.

    Args:
        text: TOML: ``title`` and an array of tables ``[[step]]`` with ``method``, ``layers``
            (pattern or list of patterns, all by default) and the method's options.
        methods: The methods by name.
        name: The recipe's name.
        where: Where the text comes from, for messages.

    Raises:
        OptionError: If it is no TOML, or a method, option or value is wrong.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError("The recipe is no TOML", where=where, found=str(error)) from error
    unknown = sorted(set(content) - {"title", "step"})
    tables = content.get("step")
    if unknown or not isinstance(tables, list) or not tables:
        raise OptionError(
            "A recipe holds a title and at least one [[step]]",
            where=where,
            found=", ".join(content) or "nothing",
        )
    steps = tuple(
        parse_step(table, methods, where=f"{where}, step {number}")
        for number, table in enumerate(tables, start=1)
    )
    return Recipe(name=name, title=str(content.get("title", "")), steps=steps)


def parse_step(table: Mapping[str, Any], methods: Mapping[str, Method], *, where: str) -> Step:
    """One step from its table.

    Raises:
        OptionError: If the method, a pattern's type or an option is wrong.
    """
    values = dict(table)
    method = values.pop("method", None)
    if method not in methods:
        close = difflib.get_close_matches(str(method), methods, n=1)
        raise OptionError(
            "There is no such method",
            where=where,
            found=repr(method),
            expected=", ".join(methods),
            hint=f"Did you mean {close[0]}?" if close else "",
        )
    layers = values.pop("layers", "*")
    patterns = (layers,) if isinstance(layers, str) else layers
    is_list = isinstance(patterns, list | tuple) and len(patterns) > 0
    if not is_list or not all(isinstance(p, str) and p.strip("!") for p in patterns):
        raise OptionError(
            "layers is no pattern and no list of patterns", where=where, found=repr(layers)
        )
    place = f"{where} ({method})"
    options = parse_options(methods[method].options, values, where=place)
    return Step(method=method, layers=tuple(patterns), options=options)
