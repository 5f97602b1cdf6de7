"""Rayon watches itself: drift, performance, reviews, reports, and what is done about it."""
