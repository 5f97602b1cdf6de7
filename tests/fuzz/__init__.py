"""Requests generated from the OpenAPI document, for each role: `make fuzz`."""
