"""What the delivery does: the steps of the workflows, runnable on a laptop."""
