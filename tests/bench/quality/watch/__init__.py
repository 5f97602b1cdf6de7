"""Promotions of good and bad releases under the watch of the monitor."""
