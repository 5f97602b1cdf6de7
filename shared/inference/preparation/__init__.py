"""Preparation of texts and images, the same in training and in serving."""
