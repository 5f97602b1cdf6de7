"""Request and response bodies of releases, datasets and training runs."""
