"""The ledger: every finished run, and every declared study and claim, in one SQLite file.

A row is a pure function of its run: nothing in it tells when, where or in which order the run was trained, so that two
ledgers of the same runs hold equal rows. Rows are only ever added.
"""

import hashlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from exnihilo.errors import LedgerError, OutputError
from exnihilo.lab.packing import CorruptRowError, pack, unpack
from exnihilo.lab.records import NUMERICS_VERSION, Run, RunRecord

# A change of the tables or of the packing raises this number; ledgers of another number are refused, never converted.
SCHEMA_VERSION = 1

# SQLite's own mark of a file's owner ("xnhl"): tells a ledger from any other database.
APPLICATION_ID = 0x786E686C

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE studies (
    hash TEXT PRIMARY KEY, name TEXT NOT NULL, question TEXT NOT NULL, rule TEXT NOT NULL, declaration TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (
    identity TEXT PRIMARY KEY, configuration TEXT NOT NULL, scalars TEXT NOT NULL, curves BLOB NOT NULL
);
"""

# SQLite takes at least 32,766 parameters in one statement; a thousand keeps each statement short.
_PARAMETERS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A study, or a claim that rests on studies, as it was declared before its runs.

    Args:
        name: The study's name, or the claim's id.
        hash: Hash of the whole declaration.
        question: What is asked, in words.
        rule: The decision rule in words, with its numbers.
        text: The whole declaration as canonical JSON.
    """

    name: str
    hash: str
    question: str
    rule: str
    text: str

    @classmethod
    def of(cls, name: str, *, question: str, rule: str, fields: Mapping[str, Any]) -> Self:
        """The declaration of ``fields``, plain values; its hash is theirs."""
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return cls(name=name, hash=digest, question=question, rule=rule, text=text)


class Ledger:
    """The runs that were finished, by identity, and the studies that were declared.

    Opens the file, or makes it where there is none; holds it alone until it is closed, so that two drivers never
    train the same runs side by side. A process that is killed leaves a ledger that opens again.

    Args:
        path: The SQLite file; its folder is made where it does not exist.

    Raises:
        LedgerError: The file is no ledger, is corrupt, was written by another version, or is in use.
        OutputError: The file or its folder cannot be written.

    Example:
        >>> with Ledger(":memory:") as ledger:
        ...     ledger.count()
        0
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._translated():
            if str(path) != ":memory:":
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def count(self) -> int:
        """How many runs are finished."""
        with self._translated():
            return self._connection.execute("SELECT count(*) FROM runs").fetchone()[0]

    def identities(self) -> frozenset[str]:
        """The identities of all finished runs."""
        with self._translated():
            return frozenset(identity for (identity,) in self._connection.execute("SELECT identity FROM runs"))

    def missing(self, runs: Iterable[Run]) -> tuple[Run, ...]:
        """Those of ``runs`` that are not finished, in their order."""
        known = self.identities()
        return tuple(run for run in runs if run.identity not in known)

    def records(self, identities: Iterable[str] | None = None) -> tuple[RunRecord, ...]:
        """The records of finished runs.

        Args:
            identities: Of which runs; those that are not finished are left out. None takes all.

        Returns:
            Records ordered by identity, equal to those committed to the last bit.
        """
        wanted = self.identities() if identities is None else identities
        return tuple(self._unpacked(*row) for row in self._rows(wanted))

    def commit(self, records: Iterable[RunRecord]) -> None:
        """Add finished runs in one transaction; a run that is there already stays as it is.

        Raises:
            LedgerError: A run is there already with another content; nothing is added then.
        """
        rows = {record.run.identity: (record.run, *pack(record)) for record in records}
        with self._transaction():
            for identity, _, scalars, curves in self._rows(rows):
                if (scalars, curves) != rows[identity][2:]:
                    raise self._conflict(identity, rows[identity][0])
            self._connection.executemany(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?)",
                [(identity, *columns) for identity, (_, *columns) in rows.items()],
            )

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """Write down studies and claims before their runs; a declaration that is there already stays as it is."""
        rows = [(entry.hash, entry.name, entry.question, entry.rule, entry.text) for entry in declarations]
        with self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO studies VALUES (?, ?, ?, ?, ?)", rows)

    def declarations(self) -> tuple[Declaration, ...]:
        """The declared studies and claims, ordered by name and hash."""
        with self._translated():
            rows = self._connection.execute(
                "SELECT name, hash, question, rule, declaration FROM studies ORDER BY name, hash"
            ).fetchall()
        return tuple(Declaration(name=n, hash=h, question=q, rule=r, text=t) for n, h, q, r, t in rows)

    def _rows(self, identities: Iterable[str]) -> Iterator[tuple[str, str, str, bytes]]:
        wanted = sorted(set(identities))
        for first in range(0, len(wanted), _PARAMETERS_AT_ONCE):
            yield from self._rows_at_once(wanted[first : first + _PARAMETERS_AT_ONCE])

    def _rows_at_once(self, identities: list[str]) -> list[tuple[str, str, str, bytes]]:
        marks = ",".join("?" * len(identities))  # marks only: no value enters the statement's text
        with self._translated():
            return self._connection.execute(
                "SELECT identity, configuration, scalars, curves FROM runs"
                f" WHERE identity IN ({marks}) ORDER BY identity",
                identities,
            ).fetchall()

    def _unpacked(self, identity: str, configuration: str, scalars: str, curves: bytes) -> RunRecord:
        try:
            return unpack(configuration, scalars, curves)
        except CorruptRowError as error:
            raise self._corrupt(f"run {identity}: {error}") from error

    def _open(self) -> None:
        """Look before anything is written: a file that is not ours stays as it is, to the last byte."""
        execute = self._connection.execute
        (owner,) = execute("PRAGMA application_id").fetchone()
        (schema,) = execute("PRAGMA user_version").fetchone()
        (num_tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        is_new = num_tables == 0 and owner == 0
        if not is_new:
            if owner != APPLICATION_ID:
                raise self._error(f"{self.path} is a database of another program, not a ledger.")
            if schema != SCHEMA_VERSION:
                raise self._error(f"{self.path} has schema version {schema}; this exnihilo reads {SCHEMA_VERSION}.")
            (numerics,) = execute("SELECT value FROM about WHERE key = 'numerics'").fetchone() or (None,)
            if numerics != NUMERICS_VERSION:
                raise self._error(
                    f"{self.path} holds runs of numerics version {numerics}; this exnihilo trains {NUMERICS_VERSION}.",
                    context=["The same configuration gives other values now: old and new runs must not be mixed."],
                )
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL").fetchone()
        execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut at most the last chunks
        execute("BEGIN IMMEDIATE")  # takes the lock, and finds out now whether the file can be written
        if is_new:
            for statement in _SCHEMA.strip().rstrip(";").split(";"):
                execute(statement)
            execute("INSERT INTO about VALUES ('numerics', ?)", [NUMERICS_VERSION])
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._corrupt(verdict)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Generator[None]:
        """SQLite's errors in the form of ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise LedgerError(
                    f"{self.path} is in use by another process.",
                    context=["One driver at a time trains runs for a ledger."],
                    fix="wait for the other command, or use another folder: --out other",
                ) from error
            raise self._unwritable(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise self._corrupt(str(error)) from error
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise self._unwritable(error.strerror or str(error)) from error

    def _error(self, fact: str, *, context: Sequence[str] = ()) -> LedgerError:
        return LedgerError(
            fact,
            context=[*context, "Nothing in it was changed."],
            fix=f"mv {self.path} {self.path}.aside   then run the same command again",
        )

    def _corrupt(self, reason: str) -> LedgerError:
        return self._error(f"{self.path} is no ledger, or is corrupt.", context=[f"SQLite: {reason}"])

    def _unwritable(self, reason: str) -> OutputError:
        return OutputError(
            f"The ledger {self.path} cannot be written.",
            context=[f"reason: {reason}"],
            fix="choose a folder that can be written: --out report",
        )

    def _conflict(self, identity: str, run: Run) -> LedgerError:
        return self._error(
            f"Run {identity} is in {self.path} already, with another result.",
            context=[f"configuration: {run.canonical()}", "The same configuration must give the same bits."],
        )
