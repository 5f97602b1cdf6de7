"""A shop with 500 categories in a tree, most of them rare, from its upload to its report."""
