"""PyTorch: backend, generic agent, default evaluator."""
