"""Tests of the shared code, without servers."""
