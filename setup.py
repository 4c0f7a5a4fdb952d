"""The packages that are installed; all else is in pyproject.toml.

The checkout's folder `flows/` is installed as `augpipe_flows`: many a Prefect project has a package `flows` of its own.
"""

from setuptools import find_packages, setup

library = find_packages(include=["augpipe*"])
orchestration = [f"augpipe_{name}" for name in find_packages(include=["flows*"])]
setup(packages=[*library, *orchestration], package_dir={"augpipe_flows": "flows"})
