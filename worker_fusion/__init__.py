"""Joins the modalities and writes the answers."""
