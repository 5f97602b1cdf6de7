"""Release packages: manifest, models, registry and the cache of image features."""
