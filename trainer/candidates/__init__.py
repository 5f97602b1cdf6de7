"""Candidate models behind two protocols, their calibration and their registry."""
