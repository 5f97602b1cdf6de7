"""The kernel, without servers."""
