"""Databases below AUGPIPE_HOME: built whole or not at all, brought up to date,
and moved away if they cannot be opened.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.store.db import utils

from augpipe.core.errors import UserError
from flows import databases
from flows.databases import UNUSABLE, ensure_mlflow, prefect_folder, schema_version


@pytest.fixture(autouse=True)
def no_kept_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps a connection for each address; here databases of one address come and go."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    monkeypatch.setattr(SqlAlchemyStore, "_engine_map", {})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "mlflow.db"
    ensure(path)
    return path


def ensure(path: Path) -> None:
    ensure_mlflow(path, (path.parent / "artifacts").as_uri())


def begin(path: Path) -> int:
    """A process that makes the database; forked, so that it need not import MLflow."""
    pid = os.fork()
    if pid == 0:
        try:
            ensure(path)
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def experiments(path: Path) -> list[str]:
    client = MlflowClient(f"sqlite:///{path}")
    return sorted(experiment.name for experiment in client.search_experiments())


@pytest.mark.parametrize("part", [0.0, 0.6])
def test_killed_while_it_is_built_it_is_built_anew(tmp_path: Path, built: Path, part: float) -> None:
    """When the draft exists, and when it has this part of its final size."""
    path, size = tmp_path / "mlflow.db", part * built.stat().st_size
    pid, until = begin(path), time.monotonic() + 60
    while not [d for d in tmp_path.glob(".mlflow.db.*.tmp") if d.stat().st_size >= size]:
        assert time.monotonic() < until
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert not path.exists()
    ensure(path)
    assert experiments(path) == ["Default"]
    assert {p.name for p in tmp_path.iterdir()} <= {"mlflow.db", ".mlflow.db.lock", "artifacts"}


def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    """As `ulimit -f` sets it."""
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            ensure(tmp_path / "mlflow.db")
        except UserError as error:
            os._exit(7 if "files may not be so large (ulimit -f)" in str(error) else 8)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not (tmp_path / "mlflow.db").exists()


def test_two_that_begin_at_once_make_one(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    both = [begin(path) for _ in range(2)]
    assert [os.waitpid(pid, 0)[1] for pid in both] == [0, 0]
    assert experiments(path) == ["Default"]
    assert path.stat().st_mode & 0o777 == 0o600


def before_latest() -> str:
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    latest = scripts.get_revision(utils._get_latest_schema_revision())
    assert latest is not None and isinstance(latest.down_revision, str)
    return latest.down_revision


def set_version(path: Path, version: str) -> None:
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("update alembic_version set version_num = ?", (version,))


def test_that_of_an_earlier_mlflow_is_migrated_and_kept(
    tmp_path: Path, built: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from alembic import command

    path = Path(shutil.copy(built, tmp_path))
    MlflowClient(f"sqlite:///{path}").create_experiment("mine")
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    earlier = before_latest()
    with engine.begin() as connection:
        config = utils._get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        command.downgrade(config, earlier)
    engine.dispose()
    assert schema_version(path) == earlier
    path.chmod(0o640)  # its user shares it
    with caplog.at_level(logging.WARNING, "augpipe"):
        ensure(path)
    assert experiments(path) == ["Default", "mine"]
    old = tmp_path / f"mlflow-{earlier}.db"
    assert "was migrated" in caplog.text
    assert [one.stat().st_mode & 0o777 for one in (old, path)] == [0o640, 0o640]


def test_that_of_a_later_mlflow_is_left_alone(tmp_path: Path, built: Path) -> None:
    path = Path(shutil.copy(built, tmp_path))
    set_version(path, "fedcba987654")
    before = path.read_bytes()
    with pytest.raises(UserError, match="was written by a later MLflow than the installed one"):
        ensure(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["cut off", "no database", "no version"])
def test_one_that_cannot_be_used_is_moved_away(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mlflow.db"
    if how == "no database":
        path.write_bytes(b"not a database at all" * 100)
    else:
        with closing(sqlite3.connect(path)) as base, base:
            base.execute("create table experiments (id integer)")
            if how != "no version":
                base.execute("create table alembic_version (version_num text)")
                base.execute("insert into alembic_version values (?)", (before_latest(),))
            if how == "cut off":
                base.execute("create table _alembic_tmp_metrics (id integer)")
    assert schema_version(path) == UNUSABLE
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING, "augpipe"):
        ensure(path)
    assert experiments(path) == ["Default"]
    (aside,) = tmp_path.glob("mlflow.db.damaged-*")
    assert aside.read_bytes() == before and str(aside) in caplog.text


def test_a_servers_folder_goes_with_it_and_those_of_killed_runs_too(tmp_path: Path) -> None:
    with prefect_folder(tmp_path, keep=False) as running:
        killed = tmp_path / "run-killed"
        killed.mkdir()
        (killed / databases.LOCK).touch()
        os.utime(killed, (0, 0))
        begun = tmp_path / "run-begun"  # by a run that has not locked it yet
        begun.mkdir()
        with prefect_folder(tmp_path, keep=False) as other:
            assert running.is_dir() and other.is_dir() and begun.is_dir() and not killed.exists()
    begun.rmdir()
    assert not list(tmp_path.iterdir())
    with prefect_folder(tmp_path, keep=True) as kept:
        assert kept == tmp_path


def test_a_copy_is_whole_while_another_writes(tmp_path: Path) -> None:
    source, target = tmp_path / "one.db", tmp_path / "other.db"
    with closing(sqlite3.connect(source)) as base:
        with base:
            base.execute("create table t (x integer)")
            base.executemany("insert into t values (?)", [(i,) for i in range(1000)])
        base.execute("begin immediate")
        base.execute("delete from t")
        databases.copy_database(source, target)
        base.rollback()
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("select count(*) from t").fetchone() == (1000,)


def test_one_that_cannot_be_migrated_or_is_busy_is_left_alone(
    tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as base, base:
        base.execute("create table experiments (id integer)")
        base.execute("create table alembic_version (version_num text)")
        base.execute("insert into alembic_version values (?)", (before_latest(),))
    before = old.read_bytes()
    with pytest.raises(UserError, match=r"cannot be migrated \([^\[]*\); move it away"):  # no SQL
        ensure(old)
    assert old.read_bytes() == before and not list(tmp_path.glob("old-*"))
    path = Path(shutil.copy(built, tmp_path))
    monkeypatch.setattr(databases, "BUSY", 0.1)
    with closing(sqlite3.connect(path)) as base:
        base.execute("begin exclusive")
        with pytest.raises(UserError, match=r"cannot read .*mlflow\.db: database is locked"):
            ensure(path)
    ensure(path)
    assert not list(tmp_path.glob("*damaged*"))


def test_a_damaged_empty_database_is_made_anew(tmp_path: Path) -> None:
    template = tmp_path / "empty.db"
    template.write_bytes(b"no database" * 100)
    databases.from_template(tmp_path / "prefect.db", template)
    assert not template.exists() and not (tmp_path / "prefect.db").exists()
