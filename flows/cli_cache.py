"""`augpipe cache`: list and prune cached results."""

from __future__ import annotations

from datetime import datetime

from cyclopts import App
from rich.table import Table

from augpipe.core.errors import several
from augpipe.core.home import age_seconds, home, store_limit

from .command_line import Switch
from .output import Output, print_line

cache = App(name="cache", help="List and prune cached results.")


@cache.command(name="ls")
def cache_ls() -> None:
    """Print the number of cached results by stage, and the size of the store."""
    from augpipe.core.store import Store
    from augpipe.pipeline import pruning

    store = Store(home() / "store")
    table = Table(box=None, pad_edge=False)
    for column in ("stage", "results", "last used"):
        table.add_column(column, justify="right" if column == "results" else "left")
    records = pruning.records(store)
    for stage in sorted({record.stage for record in records}):
        used = [record.used for record in records if record.stage == stage]
        last = datetime.fromtimestamp(max(used)).astimezone()
        table.add_row(stage, str(len(used)), last.strftime("%Y-%m-%d %H:%M"))
    Output().print(table)
    size = sum(item.size for item in pruning.items(store)) / 1e6
    print_line(f"{store.root}: {size:,.1f} MB of at most {store_limit() / 1e6:,.0f} MB")
    for what, names in (("tracked runs", pruning.TRACKED), ("Prefect's database", ("prefect",))):
        size = pruning.size_below_home(*names) / 1e6
        print_line(f"{what}: {size:,.1f} MB")


@cache.command(name="prune")
def cache_prune(*, older_than: str, runs: Switch = False) -> None:
    """Remove results that no run has used for some time; those of a run in progress stay.

    Parameters
    ----------
    older_than
        Age such as 90m, 12h or 7d; results used more recently stay.
    runs
        Also delete tracked runs that ended longer ago, with their models, from MLflow's store below AUGPIPE_HOME.
        Runs of registered models stay.
    """
    age = age_seconds(older_than)
    from augpipe.core.store import Store  # imports torch
    from augpipe.pipeline import pruning

    if runs:
        from .environment import set_environment
        from .tracking.cleanup import remove_runs

        set_environment()
        before = pruning.size_below_home(*pruning.TRACKED)
        deleted = remove_runs(age)
        size = (before - pruning.size_below_home(*pruning.TRACKED)) / 1e6
        print_line(
            f"deleted {several(deleted.runs, 'tracked run')} and {several(deleted.models, 'model')}, {size:,.1f} MB"
        )
    removed = pruning.prune(Store(home() / "store"), older_than=age)
    size = sum(item.size for item in removed) / 1e6
    print_line(f"removed {len(removed)} files and folders, {size:,.1f} MB")
