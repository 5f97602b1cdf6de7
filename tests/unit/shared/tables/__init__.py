"""Tests of transactions and leases."""
