"""Request and response bodies of labels, reviews, performance, reports and drift alerts."""
