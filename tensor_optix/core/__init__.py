"""The decision core: pure functions and contracts over numpy and the standard library."""
