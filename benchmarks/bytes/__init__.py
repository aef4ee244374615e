"""How few bytes an update of a really trained model costs: ours beside the tools of today, on the same pairs."""
