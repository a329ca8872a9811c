"""Runs a TFLite file in tflite-runtime 2.14, which needs an environment of its own.

Called as ``python tflite_old.py MODEL INPUTS OUTPUTS``: INPUTS is an .npz with codes of each input,
``[n, *shape]`` in the model's order; OUTPUTS receives the same of each output.
"""

import sys

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType


def main(model: str, inputs: str, outputs: str) -> None:
    """Run every sample in the reference kernels."""
    interpreter = Interpreter(
        model_path=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    data = np.load(inputs)
    samples = [data[name] for name in data.files]
    rows: list[list[np.ndarray]] = []
    for index in range(len(samples[0])):
        for port, array in zip(interpreter.get_input_details(), samples, strict=True):
            interpreter.set_tensor(port["index"], array[index])
        interpreter.invoke()
        rows.append([interpreter.get_tensor(p["index"]) for p in interpreter.get_output_details()])
    np.savez(outputs, *(np.stack(column) for column in zip(*rows, strict=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
