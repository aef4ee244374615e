"""What says which bytes of a base a chunk resembles: the same tensor's same place, as a rule.

Nothing here reads a file: whoever has the bytes brings readers for samples. A wrong guess costs bytes, never truth.
Nothing is decided before it is asked for: a push that lacks two layers samples the tensors of two layers. What was
found out is kept for each tensor. Threads may share these objects; at worst both find out the same.
"""

from modelsyncd.matching.choice import Bases, Chosen, promising
from modelsyncd.matching.hints import Hints
from modelsyncd.matching.match import Found, Match, match

__all__ = ["Bases", "Chosen", "Found", "Hints", "Match", "match", "promising"]
