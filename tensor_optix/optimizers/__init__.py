"""Hyper-parameter optimizers: they suggest values while the agent trains."""
