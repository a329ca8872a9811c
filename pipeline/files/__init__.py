"""Model files: told apart, opened without running their code, and fitted to a module."""
