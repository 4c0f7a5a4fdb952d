"""SQLite databases of MLflow and Prefect below AUGPIPE_HOME:
built beside their place, so that a kill leaves none half-built.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final
from urllib.parse import quote

from filelock import FileLock

from augpipe.core.errors import UserError
from augpipe.core.files import beside
from augpipe.core.home import make_folder
from augpipe.core.integrity import LOGGER
from augpipe.core.processes import hold, is_held

UNUSABLE: Final = "unusable"
LOCK: Final = "lock"
YOUNG: Final = 60.0  # seconds
IO_ERROR: Final = "disk I/O error"  # SQLite's, also for a file above the limit of its size
BUSY: Final = 60.0  # seconds to wait for another process's transaction


def sqlite_url(path: Path, driver: str = "") -> str:
    """The URL of a database for SQLAlchemy, which takes a ? in a plain path for the beginning of options."""
    if "?" in str(path):
        # With a driver: of `sqlite:///file:...` MLflow would create the parent folders, beginning with `file:`.
        return f"sqlite+{driver or 'pysqlite'}:///file:{quote(str(path))}?uri=true"
    return f"sqlite{'+' if driver else ''}{driver}:///{path}"


def schema_version(path: Path) -> str | None:
    """Alembic's version of a database; None without one, UNUSABLE if its building or a migration was cut off."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=BUSY)) as base:
            tables = {name for (name,) in base.execute("select name from sqlite_master")}
            if not tables:
                return None
            unfinished = any(name.startswith("_alembic_tmp_") for name in tables)
            if unfinished or "alembic_version" not in tables:
                return UNUSABLE
            versions = [v for (v,) in base.execute("select version_num from alembic_version")]
    except sqlite3.OperationalError as error:
        # Locked, or not readable now: nothing is wrong with its content.
        raise UserError(f"cannot read {path}: {error}") from None
    except sqlite3.DatabaseError:
        return UNUSABLE
    return str(versions[0]) if len(versions) == 1 else UNUSABLE


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy with the same mode, also of a database that is being written to; `target` appears whole."""
    with beside(target) as draft:
        _create(draft, stat.S_IMODE(source.stat().st_mode))
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(draft)) as other:
            one.backup(other)


def _create(path: Path, mode: int) -> None:
    """An empty file with at most this mode, which is an empty database; one that exists stays as it is."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, mode))


def ensure_mlflow(path: Path, artifacts: str) -> None:
    """Create MLflow's database, or bring that of an earlier MLflow up to date; at most one process does.

    A database that cannot be used is moved away with a warning. UserError for that of a later MLflow.
    """
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    with FileLock(path.with_name(f".{path.name}.lock")):
        for draft in path.parent.glob(f".{path.name}.*.tmp*"):
            draft.unlink()  # and SQLite's journal beside one: whoever makes one holds the lock
        latest, version = utils._get_latest_schema_revision(), schema_version(path)
        if version == latest:
            return
        if version not in (None, UNUSABLE):
            scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
            if version not in {script.revision for script in scripts.walk_revisions()}:
                raise UserError(
                    f"{path} was written by a later MLflow than the installed one; install that one, or set another "
                    "AUGPIPE_HOME or MLFLOW_TRACKING_URI"
                )
            _upgrade(path, str(version), artifacts)
            return
        if version is not None:
            _move_away(path)
        with beside(path) as draft:
            _build(draft, artifacts)


def _build(draft: Path, artifacts: str) -> None:
    """All tables and the default experiment, which two processes could otherwise create at once.

    A new file is readable by its user only: it names pictures, classes and people.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    _create(draft, 0o600)
    try:
        SqlAlchemyStore(sqlite_url(draft), artifacts).engine.dispose()
    except Exception as error:  # of SQLAlchemy or MLflow
        if IO_ERROR not in str(error):
            raise
        raise UserError(
            f"cannot write {draft.parent / 'mlflow.db'}: {IO_ERROR}; the disk fails, or files may not be so large "
            "(ulimit -f)"
        ) from None


def _upgrade(path: Path, version: str, artifacts: str) -> None:
    """Migrate a copy and put it in place; the old one stays beside it. UserError if it cannot be migrated."""
    from mlflow.store.db import utils

    old = path.with_name(f"{path.stem}-{version}{path.suffix}")
    copy_database(path, old)
    try:
        with beside(path) as draft:
            copy_database(old, draft)
            engine = utils.create_sqlalchemy_engine(sqlite_url(draft))
            try:
                utils._upgrade_db(engine)
            finally:
                engine.dispose()
            _build(draft, artifacts)
    except UserError:
        raise
    except Exception as error:  # a migration may raise anything
        old.unlink()  # nothing was changed
        reason = " ".join(str(error).partition("[SQL:")[0].split())[:200]
        raise UserError(
            f"{path} was written by an earlier MLflow and cannot be migrated ({reason}); move it away, or set "
            "MLFLOW_TRACKING_URI"
        ) from None
    LOGGER.warning("%s was migrated to the installed MLflow; the old file is %s", path, old)


def _move_away(path: Path) -> None:
    place = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    os.replace(path, place)
    LOGGER.warning("%s cannot be opened. It was moved to %s, and an empty one was created.", path, place)


@contextmanager
def prefect_folder(home: Path, keep: bool) -> Iterator[Path]:
    """The folder of a Prefect server's database; without `keep` of one that is deleted when the block ends.

    Folders of runs that were killed are deleted.
    """
    make_folder(home)
    if keep:
        yield home
        return
    for folder in home.glob("run-*"):
        # A young one may belong to a run that has not locked it yet.
        if time.time() - _modified(folder) > YOUNG and not is_held(folder / LOCK):
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(mkdtemp(prefix="run-", dir=home))
    try:
        with hold(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # deleted meanwhile by its run
        return time.time()


def from_template(database: Path, template: Path) -> None:
    """Start from the empty database if there is one; a damaged one is deleted."""
    if template.exists():
        try:
            copy_database(template, database)
        except sqlite3.DatabaseError:
            template.unlink(missing_ok=True)


def prefect_template(home: Path) -> Path:
    """An empty database of the installed Prefect, from which those of runs are copied; made by the first server."""
    from importlib.metadata import version

    return home / f"empty-{version('prefect')}.db"
