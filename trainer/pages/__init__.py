"""Building blocks of the HTML pages that the trainer writes."""
