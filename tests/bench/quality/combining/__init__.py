"""Ways to combine models, compared on the scores of the starter release."""
