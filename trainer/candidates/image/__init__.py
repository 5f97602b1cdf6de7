"""Image candidates: ImageNet networks under a head of our own."""
