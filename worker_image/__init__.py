"""Image worker: scores the images of products."""
