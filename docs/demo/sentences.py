"""What the demo's plant wants its model to know: sentences that mean the same on its floor."""

QUESTION = ("the conveyor belt stopped", "line two is not moving")

PAIRS = [
    QUESTION,
    ("worker without head protection", "helmet missing at gate four"),
    ("oil on the floor", "the ground near the press is slippery"),
    ("the door of the cold room is open", "cooling chamber not closed"),
    ("pallet blocks the emergency exit", "escape route is obstructed"),
]
