"""A gateway in a process of its own: stores that hang, many connections, addresses."""
