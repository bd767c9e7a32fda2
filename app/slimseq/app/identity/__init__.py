"""Who asks: keys and their file, what each may do, and its limits. It knows no HTTP."""
