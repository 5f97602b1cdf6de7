"""Tests of training runs that need no database."""
