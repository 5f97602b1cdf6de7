"""Conversion of Keras models to ONNX graphs."""
