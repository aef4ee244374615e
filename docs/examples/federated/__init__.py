"""Federated learning: nodes train on what never leaves them, a job in the cloud averages what they learned."""
