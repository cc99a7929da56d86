"""One page that says what a run did and why, and one of many runs: read from their folders, shown without a network.

What lives here: reading a run's records, the figures, the words, the page, and serving it on this machine alone.
Nothing here is imported by the loop, and nothing here writes into a run but the page itself.
What never comes in: a decision, a framework, a request to another machine.
"""
