"""Every technique, one file each: what it is called, what it starts from and which options it takes."""
