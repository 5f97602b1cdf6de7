"""Release packages: evaluation, acceptance, comparison and image features."""
