"""Inputs of a model: arrays, images and functions of the user, and examples for tracing."""
