"""The only place that says which bytes of a base a chunk resembles: the same tensor's same place, as a rule.

Nothing here reads a file: whoever has the bytes brings readers for samples. A wrong guess costs bytes, never truth.
"""

from __future__ import annotations
