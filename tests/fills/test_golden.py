"""What was drawn once is drawn for ever, or under a new version."""

import json

import golden
import pytest
from fill_cases import BACKENDS, backend

CHANGED = (
    "Every value that anybody drew under FILLS_VERSION {version} has changed. If that is meant: raise FILLS_VERSION in "
    "fills/key.py, write `python tests/fills/golden.py`, and say so under `numerics` in CHANGELOG.md."
)


@pytest.mark.parametrize("name", BACKENDS)
def test_drawn_values_are_those_of_this_version(name: str) -> None:
    kept = json.loads(golden.FILE.read_text())
    with backend(name):
        assert json.loads(json.dumps(golden.drawn())) == kept, CHANGED.format(version=kept["version"])


def test_the_table_holds_values_that_tell_laws_and_indices_apart() -> None:
    rows = json.loads(golden.FILE.read_text())["laws"]
    assert len({tuple(row["bits"]) for row in rows}) == len(rows) == len(golden.LAWS)
    continuous = [row["bits"] for row in rows if row["law"] not in ("rademacher", "constant")]
    assert all(len(set(bits)) >= 15 for bits in continuous)  # of 16, for the two indices that share a float32 by luck
