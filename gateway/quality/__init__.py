"""Quality of the answers: labels, reviews, performance, reports and drift alerts."""
