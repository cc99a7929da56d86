"""One recipe per algorithm, over the `Backend` protocol, and its constructors per framework."""
