"""The frameworks: one `Backend` each, and what agents of both share."""
