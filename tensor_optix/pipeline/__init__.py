"""Pipelines turn an environment or a feed into windows of experience."""
