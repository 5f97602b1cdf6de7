"""Tests of the watch over promoted releases."""
