"""Tests by level: unit, integration, model, e2e; bench runs on request."""
