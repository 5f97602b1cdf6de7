"""Text candidates: n-grams, a recurrent network and sentence embeddings."""
