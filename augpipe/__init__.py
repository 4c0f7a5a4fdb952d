"""augpipe: do synthetic images help on an imbalanced image set, which, how many, and how sure is that?

The library knows neither Prefect nor MLflow and runs from a notebook; `flows` orchestrates it.
"""

__version__ = "0.1.0"
