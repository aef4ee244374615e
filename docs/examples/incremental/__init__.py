"""Incremental learning with Sedna's own calls: `python -m docs.examples.incremental` runs it in a minute."""
