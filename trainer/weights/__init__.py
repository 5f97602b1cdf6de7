"""Pretrained weights of the candidates: what they need, what is there, and where it is fetched."""
