"""Tests of the message queue."""
