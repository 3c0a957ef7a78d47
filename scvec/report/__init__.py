"""A query's report: findings as values, figures of these, and one HTML page."""
