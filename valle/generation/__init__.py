"""The decoding engine and its backends."""
