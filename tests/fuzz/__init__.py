"""Requests made from the OpenAPI document, signed in as each role: `make fuzz`."""
