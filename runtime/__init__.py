"""What executes a model: C kernels, and one runner a runtime behind one interface."""
