"""edgefactor turns a PyTorch model into checked int8 ONNX, TFLite and C for microcontrollers."""

__version__ = "0.1.0"
