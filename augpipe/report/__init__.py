"""What a run leaves behind: tables, sample grids, and one self-contained HTML page."""
