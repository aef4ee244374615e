"""Importing this loads all loops."""

from modelsyncd.codec.compiled import cells, elements, gaps, lanes, matrices, rows, sorted_planes

__all__ = ["cells", "elements", "gaps", "lanes", "matrices", "rows", "sorted_planes"]
