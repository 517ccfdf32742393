"""HTTP server: OpenAI's speech routes, voices, a WebSocket, and a page."""
