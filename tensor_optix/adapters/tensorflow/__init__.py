"""TensorFlow: backend, generic agent, default evaluator."""
