"""Image candidates: ImageNet networks with a fitted head."""
