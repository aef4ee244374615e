"""Lifelong learning: a model for each task in one release, of which an update changes a few."""
