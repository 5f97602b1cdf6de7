"""Training pipeline: fit all candidates, choose, export and test a release."""
