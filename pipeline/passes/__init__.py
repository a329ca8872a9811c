"""Passes: ONNX -> ONNX before the lowering, Graph -> Graph after it."""
