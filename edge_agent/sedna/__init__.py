"""What a job of Sedna finds on a node: the model where it looks for it, and the controller that it reports to."""
