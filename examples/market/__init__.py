"""A market on a WebSocket, who trades on it, and who forecasts it."""
