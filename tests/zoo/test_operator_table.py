"""docs/operators.md lists every claimed operator and is what its script writes."""

from tests.zoo.node_cases import CLAIMED
from tests.zoo.operator_table import COMMAND, EXAMPLES, TABLE, write_table


def test_every_claimed_operator_has_an_example() -> None:
    assert set(EXAMPLES) == CLAIMED


def test_table_is_up_to_date() -> None:
    assert TABLE.read_text(encoding="utf-8") == write_table(), f"write it again: {COMMAND}"
