"""Tests of the repair of rows."""
