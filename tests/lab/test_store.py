"""The ledger keeps every record to the last bit, and never harms a file that it cannot use."""

import dataclasses
import json
import math
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from fake_engine import record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from exnihilo.errors import InvalidValueError, LedgerError, OutputError
from exnihilo.lab.packing import pack, unpack
from exnihilo.lab.records import NUMERICS_VERSION, Network, Optimizer, Run, RunRecord, Start
from exnihilo.lab.store import Declaration, Ledger


def run_with(**changes: object) -> Run:
    fields = {
        "task": "digits",
        "network": Network(depth=2, width=3),
        "start": Start(name="he_normal"),
        "optimizer": Optimizer(),
        "lr": 0.1,
        "seed": 0,
        "steps": 10,
        "batch_size": 32,
        "evaluations": 2,
        "measurements": 1,
    }
    return Run(**{**fields, **changes})  # type: ignore[arg-type]


def bits(record: RunRecord) -> list[object]:
    """Every number of a record by its bits, so that NaN and -0.0 compare too."""

    def plain(value: object) -> object:
        if isinstance(value, float):
            return "NaN" if math.isnan(value) else struct.pack("<d", value)
        return [plain(entry) for entry in value] if isinstance(value, tuple) else value

    return [plain(getattr(record, field.name)) for field in dataclasses.fields(record)]


def dump(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        rows = [
            row
            for table, key in (("runs", "identity"), ("studies", "hash"), ("about", "key"))
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY {key}")
        ]
    connection.close()
    return rows


ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
ANY_SINGLE = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(data=st.data(), width=st.sampled_from([ANY_FLOAT, ANY_SINGLE]))
@settings(max_examples=100, deadline=None)
def test_a_record_comes_back_to_the_last_bit(data: st.DataObject, width: st.SearchStrategy[float]) -> None:
    three, two = st.tuples(*[width] * 3), st.tuples(*[width] * 2)
    record = record_of(
        run_with(lr=data.draw(st.floats(1e-300, 1e300)), seed=data.draw(st.integers(0, 2**63 - 1))),
        train_loss=data.draw(three),
        validation_score=data.draw(three),
        gradient_norm=data.draw(st.tuples(three, three)),
        dead_units=data.draw(st.tuples(two, two)),
        zero_weights=data.draw(two),
        test_loss=data.draw(ANY_FLOAT),
        test_score=data.draw(ANY_FLOAT),
        diverged=data.draw(st.booleans()),
    )
    again = unpack(*pack(record))
    assert bits(again) == bits(record)
    assert again.run.identity == record.run.identity


def test_single_precision_values_take_half_the_room() -> None:
    exact = record_of(run_with(), train_loss=(0.5, 0.25, -0.0), validation_loss=(1.0,) * 3, train_score=(1.0,) * 3)
    exact = dataclasses.replace(exact, validation_score=(math.nan, math.inf, 0.5))
    assert pack(exact)[2][:1] == b"f"
    assert pack(dataclasses.replace(exact, train_loss=(0.1, 0.25, 0.5)))[2][:1] == b"d"


def test_a_curve_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"train_loss has shape \(2,\).*ask for \(3,\)"):
        pack(record_of(run_with(), train_loss=(0.1, 0.2)))


def test_identity_is_the_hash_of_the_canonical_json_of_all_fields() -> None:
    run = run_with(task='odd "näme" %s', start=Start(name="normal", value=0.5))
    expected = {"numerics": NUMERICS_VERSION, **dataclasses.asdict(run)}
    assert run.canonical() == json.dumps(expected, sort_keys=True, separators=(",", ":"))


def test_whole_numbers_and_floats_are_one_configuration() -> None:
    one, float_one = (
        run_with(lr=1, start=Start(name="normal", value=1)),
        run_with(lr=1.0, start=Start(name="normal", value=1.0)),
    )
    assert one == float_one
    assert one.identity == float_one.identity


def test_missing_names_exactly_the_runs_that_are_not_there(tmp_path: Path) -> None:
    runs = [run_with(seed=seed) for seed in range(5)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit(map(record_of, runs[1:3]))
        assert ledger.missing(runs) == (runs[0], runs[3], runs[4])
        assert ledger.count() == 2


def test_records_are_found_by_identity_after_the_ledger_is_opened_again(tmp_path: Path) -> None:
    records = [record_of(run_with(seed=seed)) for seed in range(3)]
    with Ledger(tmp_path / "new" / "folder" / "ledger.sqlite") as ledger:
        ledger.commit(records)
    with Ledger(tmp_path / "new" / "folder" / "ledger.sqlite") as ledger:
        assert ledger.records([records[2].run.identity, "unknown"]) == (records[2],)
        assert set(ledger.records()) == set(records)


def test_committing_twice_is_no_error(tmp_path: Path) -> None:
    record = record_of(run_with(lr=10.0))  # diverged: its NaN must count as equal
    assert record.diverged
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit([record])
        ledger.commit([record, record_of(run_with(seed=1))])
        assert ledger.count() == 2


def test_another_result_for_the_same_run_is_refused_as_a_whole(tmp_path: Path) -> None:
    record = record_of(run_with())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.commit([record])
        with pytest.raises(LedgerError, match=f"Run {record.run.identity} is in .* already, with another result"):
            ledger.commit([record_of(run_with(seed=1)), dataclasses.replace(record, test_score=0.123)])
        assert ledger.records() == (record,)


def test_rows_do_not_tell_order_or_chunks(tmp_path: Path) -> None:
    records = [record_of(run_with(seed=seed)) for seed in range(10)]
    with Ledger(tmp_path / "a.sqlite") as ledger:
        ledger.commit(records)
    with Ledger(tmp_path / "b.sqlite") as ledger:
        for record in reversed(records):
            ledger.commit([record])
    assert dump(tmp_path / "a.sqlite") == dump(tmp_path / "b.sqlite")


def test_a_declaration_is_kept_once(tmp_path: Path) -> None:
    declaration = Declaration(name="a", hash="h", question="q?", rule="r", text="{}")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.declare([declaration])
        ledger.declare([declaration])
        assert ledger.declarations() == (declaration,)


def written(path: Path, *, statement: str | None = None) -> bytes:
    """A ledger with a run in it, changed by a statement, as bytes on disk."""
    with Ledger(path) as ledger:
        ledger.commit([record_of(run_with(seed=seed)) for seed in range(50)])
    if statement is not None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("statement", "fact"),
    [
        ("PRAGMA user_version = 99", "has schema version 99; this exnihilo reads 1."),
        ("UPDATE about SET value = 7", f"holds runs of numerics version 7; this exnihilo trains {NUMERICS_VERSION}."),
        ("PRAGMA application_id = 5", "is a database of another program, not a ledger."),
    ],
)
def test_a_ledger_of_another_version_is_refused_and_left_alone(tmp_path: Path, statement: str, fact: str) -> None:
    path = tmp_path / "ledger.sqlite"
    before = written(path, statement=statement)
    with pytest.raises(LedgerError) as caught:
        Ledger(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} {fact}"
    assert f"  Fix: mv {path} {path}.aside   then run the same command again" in lines
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["text", "truncated", "scrambled"])
def test_a_corrupt_ledger_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.sqlite"
    whole = written(path)
    damaged = {
        "text": b"these are not the bytes of a database\n" * 100,
        "truncated": whole[: len(whole) // 2],
        "scrambled": whole[:4096] + bytes(reversed(whole[4096:])),
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(LedgerError, match="is no ledger, or is corrupt"):
        Ledger(path)
    assert path.read_bytes() == damaged


def test_a_row_that_was_tampered_with_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    written(path, statement="UPDATE runs SET curves = x'6600' WHERE identity = (SELECT min(identity) FROM runs)")
    with Ledger(path) as ledger, pytest.raises(LedgerError) as caught:
        ledger.records()
    assert min(run_with(seed=seed).identity for seed in range(50)) in str(caught.value)


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with Ledger(path) as ledger:
        assert ledger.count() == 0


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        Ledger(tmp_path / "file" / "ledger.sqlite")
    assert str(caught.value).splitlines()[0] == f"The ledger {tmp_path / 'file' / 'ledger.sqlite'} cannot be written."
    with pytest.raises(OutputError, match="cannot be written"):
        Ledger(tmp_path)  # a folder where the file should be


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    code = f"from exnihilo.lab.store import Ledger\nLedger({str(path)!r})"
    with Ledger(path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{path} is in use by another process." in done.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
