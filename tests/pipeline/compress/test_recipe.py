from __future__ import annotations

from pathlib import Path

import pytest

from edgefactor.errors import DataError, OptionError
from edgefactor.pipeline.compress import BY_NAME, METHODS
from edgefactor.pipeline.compress.engine import apply_recipe, check_recipe
from edgefactor.pipeline.compress.method import PerLayer
from edgefactor.pipeline.compress.pruning import PruneOptions
from edgefactor.pipeline.compress.recipe import load_recipe, parse_recipe, shipped_recipes
from tests.pipeline.compress.small_nets import context, network, task

# What is wrong, the recipe, and what the error must say.
BAD = {
    "no TOML": ("[[step]", "no TOML"),
    "no steps": ('title = "x"', "at least one"),
    "unknown key": ('name = "x"\n[[step]]\nmethod = "share"', "at least one"),
    "unknown method": ('[[step]]\nmethod = "shar"', "Did you mean share"),
    "no method": ('[[step]]\nlayers = "fc1"', "no such method"),
    "unknown option": ('[[step]]\nmethod = "share"\nvalue = 3', "Did you mean values"),
    "wrong type": ('[[step]]\nmethod = "share"\nvalues = "many"', "wrong type"),
    "a bool is no number": ('[[step]]\nmethod = "share"\nvalues = true', "wrong type"),
    "wrong choice": ('[[step]]\nmethod = "share"\nstart = "liner"', "no such choice"),
    "out of range": ('[[step]]\nmethod = "prune"\nkeep = 1.5', "out of range"),
    "not finite": ('[[step]]\nmethod = "prune"\nkeep = nan', "wrong type"),
    "half a value": ('[[step]]\nmethod = "share"\nvalues = 2.5', "whole numbers"),
    "no pattern": ('[[step]]\nmethod = "share"\nlayers = 3', "no pattern"),
    "training option": (
        '[[step]]\nmethod = "prune"\n[step.training]\nlearning-rat = 1',
        "Did you mean learning_rate",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recipe(name: str) -> None:
    text, message = BAD[name]
    with pytest.raises(OptionError) as caught:
        parse_recipe(text, BY_NAME, name="bad", where="bad.toml")
    assert message in str(caught.value)
    assert caught.value.where.startswith("bad.toml")


def test_options_of_a_step() -> None:
    recipe = parse_recipe(
        """
        [[step]]
        method = "prune"
        layers = ["fc*", "!fc2"]
        keep = { fc1 = 0.1, "*" = 0.5 }
        [step.training]
        epochs = 2
        learning-rate = 0.01
        """,
        BY_NAME,
        name="x",
        where="x",
    )
    (step,) = recipe.steps
    assert step.layers == ("fc*", "!fc2")
    assert isinstance(step.options, PruneOptions)
    assert step.options.keep.value("fc1") == 0.1
    assert step.options.keep.value("conv") == 0.5
    assert step.options.training.learning_rate == 0.01


def test_a_layer_that_no_entry_fits() -> None:
    with pytest.raises(OptionError, match="No entry"):
        PerLayer.of({"fc*": 0.1}).value("conv")


def test_every_shipped_recipe_parses_and_says_what_it_is() -> None:
    assert "deep-compression" in shipped_recipes()
    for name in shipped_recipes():
        recipe = load_recipe(name, BY_NAME)
        assert recipe.title and recipe.steps


def test_unknown_recipe_and_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such recipe") as caught:
        load_recipe("deep-compresion", BY_NAME)
    assert "deep-compression" in caught.value.hint
    with pytest.raises(OptionError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"), BY_NAME)


@pytest.mark.parametrize("pattern", ["fc3", "!fc9", "*.weight"])
def test_pattern_that_matches_nothing(pattern: str) -> None:
    text = f'[[step]]\nmethod = "share"\nlayers = "{pattern}"'
    recipe = parse_recipe(text, BY_NAME, name="x", where="x")
    with pytest.raises(OptionError, match="matches no layer") as caught:
        check_recipe(network(), recipe, BY_NAME, context())
    assert caught.value.expected == "one of conv, fc1, fc2"


@pytest.mark.parametrize(
    "labelled, loss, message",
    [(True, "", ""), (False, 'loss = "task"', "needs labels"), (None, "", "needs data")],
)
def test_missing_data_is_found_before_the_first_step(
    labelled: bool | None, loss: str, message: str
) -> None:
    text = '[[step]]\nmethod = "share"\n[[step]]\nmethod = "fine-tune"\ntraining = { epochs = 1, '
    text += f"{loss or 'batch = 64'} }}"
    recipe = parse_recipe(text, BY_NAME, name="x", where="x")
    data = None if labelled is None else task(labelled=labelled)
    if not message:
        check_recipe(network(), recipe, BY_NAME, context(data))
        return
    net = network()
    with pytest.raises(DataError, match=message):
        apply_recipe(net, recipe, BY_NAME, context(data))
    assert type(net.fc1).__name__ == "Linear"


def test_names_and_summaries() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)
    for method in METHODS:
        assert method.summary and method.options()
