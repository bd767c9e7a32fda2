"""What each structure of a model costs and is worth, and the search for the best shape."""
