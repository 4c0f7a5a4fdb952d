"""Results made by hand, for every test of the report."""

from stored_results import results, stored

__all__ = ["results", "stored"]
