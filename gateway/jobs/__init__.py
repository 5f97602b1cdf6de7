"""Single products: submit, follow and read jobs."""
