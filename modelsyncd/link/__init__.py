"""The thin asynchronous shell around a session: channels, servers, backoff, and the pump."""
