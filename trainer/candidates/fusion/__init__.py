"""Fusion candidates: pools and a network over both modalities' probabilities."""
