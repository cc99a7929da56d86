"""Trackers: a run's scalars in TensorBoard, MLflow, Weights & Biases or Trackio.

What lives here: reading a run's records as turns, one mapping of a turn to the names of scalars, a thread that sends
them, and a thin writer for each tool.
What never comes in: a decision, a framework, or anything that the run waits for.
"""
