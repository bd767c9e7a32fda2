"""How a server is put under load, and servers are compared in turns."""
