"""Changes of the chosen models before they are exported: mix of categories, and later fits."""
