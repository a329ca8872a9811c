"""Memory: the order of operators, the arena's layout, and stripes where maps are too large."""
