"""Live feeds: reading in a thread, the ledger of items, boundaries, recording. For `live_pipeline` and `sources`.

It imports `support`, `core` and the pipelines' items. Environments' vectors and learning never come in.
"""
