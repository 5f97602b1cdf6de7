"""Labels of people: whose labels train, how many of each, and what they stand for."""
