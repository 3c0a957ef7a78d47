"""Building and extending an atlas: sources, shards, job, fitting, steps."""
