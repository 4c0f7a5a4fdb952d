"""Sphinx settings of the documentation site; `make docs` builds it into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

from augpipe import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "augpipe"
author = "augpipe maintainers"
version = release = __version__

extensions = ["myst_parser", "augpipe_reference"]
exclude_patterns = ["_ext", "_static"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"augpipe {version}"
html_static_path = ["_static"]
html_css_files = ["augpipe.css"]
html_show_sphinx = False
html_copy_source = False
highlight_language = "none"
templates_path: list[str] = []
