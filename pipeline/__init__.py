"""What is done to a model, in which order. The only room that imports torch."""
