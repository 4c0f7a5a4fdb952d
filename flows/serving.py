"""Alias of `augpipe.serving`: models logged by earlier versions use this module as their loader."""

from augpipe.serving import _load_pyfunc  # noqa: F401
