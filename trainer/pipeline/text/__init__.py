"""Text stage of a training: fits of the candidates, and their pools and cascades."""
