"""Learning curves: F1 by the number of training rows, and the rows for a target."""
