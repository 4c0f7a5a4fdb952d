"""Class-conditional generators, one file a family in `models/`, and their one training loop."""
