"""A large catalog from its upload to its results, in a real browser, with the time of each step."""
