"""See docs: architecture."""
