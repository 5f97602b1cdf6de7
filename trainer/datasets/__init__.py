"""Labelled products: reading, validation, splitting and stored versions."""
