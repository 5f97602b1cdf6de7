"""Text worker: scores the texts of products."""
