"""Attacks on a throw-away system: bounded, loopback only, one figure for each control."""
