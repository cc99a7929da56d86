"""What the library costs and what it learns, measured: `python -m benchmarks`."""
