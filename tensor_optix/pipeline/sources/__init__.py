"""Ready data sources for `LivePipeline`."""
