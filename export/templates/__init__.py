"""Templates of generated files. They hold text and calls, never arithmetic."""
