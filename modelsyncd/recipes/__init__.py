"""How a model is made into another form of itself: recipes with one interface, found by their entry points."""
