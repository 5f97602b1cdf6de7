"""Steps of the delivery workflows, which also run on a laptop."""
