"""Examples that run: `python -m examples.market.trade`, `python -m examples.market.forecast`."""
