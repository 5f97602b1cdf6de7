"""The command line `rayon`."""
