"""Lifecycle of a release outside training: drift alerts and promotion."""
