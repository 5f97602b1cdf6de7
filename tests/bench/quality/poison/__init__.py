"""Attacks with wrong labels, with and without the guards of the training data."""
