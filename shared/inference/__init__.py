"""Code that serving and training share: preparation, releases, batching."""
