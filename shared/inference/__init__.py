"""What serving and training share: the one preparation, the release, the batcher."""
