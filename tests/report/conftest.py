"""Results made by hand, for every test of the report."""

from balanced_sets import balanced
from stored_results import results, stored

__all__ = ["balanced", "results", "stored"]
