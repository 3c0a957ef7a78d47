"""Language models, here or behind a server: weights, causal models, the client of OpenAI-compatible servers."""
