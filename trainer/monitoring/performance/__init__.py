"""F1 in production: from labels, from reviews, and estimated without either."""
