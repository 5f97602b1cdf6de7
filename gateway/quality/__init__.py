"""Labels, reviews, performance, reports and drift alerts."""
