"""Alias of `augpipe.serving`, which models logged by earlier versions name as their loader."""

from augpipe.serving import _load_pyfunc  # noqa: F401
