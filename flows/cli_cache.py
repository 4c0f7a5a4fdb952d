"""`augpipe cache`: what earlier runs made and later ones recall."""

from __future__ import annotations

from datetime import datetime

from cyclopts import App
from rich.console import Console
from rich.table import Table

from augpipe.core.home import home

console = Console()
cache = App(name="cache", help="What earlier runs made and later ones recall.")


@cache.command(name="ls")
def cache_ls() -> None:
    """Print what can be recalled, by stage, and what the store holds."""
    from augpipe.core.store import Store
    from augpipe.pipeline import pruning

    store = Store(home() / "store")
    table = Table(box=None, pad_edge=False)
    for column in ("stage", "results", "last used"):
        table.add_column(column, justify="right" if column == "results" else "left")
    kept = pruning.records(store)
    for stage in sorted({one.stage for one in kept}):
        own = [one.used for one in kept if one.stage == stage]
        last = datetime.fromtimestamp(max(own)).astimezone()
        table.add_row(stage, str(len(own)), last.strftime("%Y-%m-%d %H:%M"))
    console.print(table)
    size = sum(item.size for item in pruning.items(store)) / 1e6
    told = f"{store.root}: {size:,.1f} MB of at most {pruning.store_limit() / 1e6:,.0f} MB"
    console.print(told, markup=False, highlight=False, soft_wrap=True)


@cache.command(name="prune")
def cache_prune(*, older_than: str) -> None:
    """Take away what no run used for some time; what a run that goes on uses stays.

    Parameters
    ----------
    older_than
        90m, 12h, 7d: what was used since then stays.
    """
    from augpipe.core.store import Store
    from augpipe.pipeline import pruning

    taken = pruning.prune(Store(home() / "store"), older_than=pruning.seconds(older_than))
    size = sum(item.size for item in taken) / 1e6
    console.print(f"took away {len(taken)} files and folders, {size:,.1f} MB", highlight=False)
