"""Readers of model files: where the tensors lie, from the header only."""
