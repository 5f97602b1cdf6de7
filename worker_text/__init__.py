"""Scores texts with a recurrent network."""
