"""The replay memory of off-policy algorithms. Only `algorithms` use it; frameworks never come in."""
