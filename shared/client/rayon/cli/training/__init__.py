"""Commands about training: datasets and training runs."""
