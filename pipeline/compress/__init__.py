"""Makes a model small: factorize, prune, share, quantize, fine-tune; one file a method.

`METHODS` is the list of what a recipe can name.
"""

from __future__ import annotations

from edgefactor.pipeline.compress.method import Method

METHODS: tuple[Method, ...] = ()
BY_NAME: dict[str, Method] = {method.name: method for method in METHODS}
