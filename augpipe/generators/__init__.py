"""Class-conditional generators, one file per family in `models/`, and the training loop that all share."""
