"""F1 in production: measured from labels and on the test set, and estimated without labels."""
